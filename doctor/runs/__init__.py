"""Runs of the doctor: what one does, what it leaves on record, and what the records say about the next one."""
