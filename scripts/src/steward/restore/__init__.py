"""Restore to a second: choose the chain, check every object, load, replay, compare."""
