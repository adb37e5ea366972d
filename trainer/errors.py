"""Errors with a message for the user. Commands print it: what was looked for, what was found, what to do next."""

from __future__ import annotations


class UserError(Exception):
    """A request cannot be carried out as given. Exit status 2."""


class RunError(Exception):
    """A run failed. Exit status 1."""
