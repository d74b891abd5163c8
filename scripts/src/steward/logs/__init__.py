"""Rotated logs: into cold storage when they are old, and how much of the disk they take."""
