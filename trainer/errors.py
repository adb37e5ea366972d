"""The errors that a person can put right. Commands print them and end with status 2."""

from __future__ import annotations


class UserError(Exception):
    """Says what was looked for, what was found, and what to do next."""
