"""Restore drills: a backup is one when it has been restored."""
