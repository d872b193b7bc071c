"""Corten: a complete container engine in Python. The map is ARCHITECTURE.md."""

__version__ = "0.1.0"
