"""Faults of the file system in forked children."""
