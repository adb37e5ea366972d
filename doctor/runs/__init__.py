"""Runs of the doctor: a diagnosis or a fix from start to end, its record on disk, and what earlier records say."""
