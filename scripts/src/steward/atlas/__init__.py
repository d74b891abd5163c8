"""Snapshots that Atlas takes of its own clusters."""
