"""Steward: daily work on Node.js + MongoDB + Redis + PM2 backends."""

__version__ = "0.1.0"
