"""The errors that are told to a person. Commands print them: what was looked for, what was found, what to do next."""

from __future__ import annotations


class UserError(Exception):
    """Something that was asked for cannot be done as asked. Ends with status 2."""


class RunError(Exception):
    """Something went wrong during a run. Ends with status 1."""
