"""Pulumi components, one a file."""
