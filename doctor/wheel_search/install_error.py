"""The error of an installation that was refused or failed."""

from __future__ import annotations


class InstallError(Exception):
    """An installation stopped before it changed anything. The message says what was found and what to do.

    `log`: the output of a program, to look up in the table of known failures.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
