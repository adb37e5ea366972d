"""Why an installation does not go on."""

from __future__ import annotations


class InstallError(Exception):
    """Nothing was changed. The message says what was looked for, what was found and what to do next.

    `log` is what a program printed, for the table of known failures.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
