"""Odd inputs: files of other programs, damaged files and hostile files, each given to a command in a forked child.

scripts/make_reliability_table.py tries them all and writes the table.
"""
