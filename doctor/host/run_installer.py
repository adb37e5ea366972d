"""Running an installer that shares the console."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress

STDERR = 2
ELEVATION_REQUIRED = 740  # an error of Windows and an exit code of installers
POLL_SECONDS = 0.5  # on Windows, Ctrl-C does not interrupt a wait without a timeout
CLEANUP_SECONDS = 30.0


def run_in_console(command: Sequence[str]) -> int:
    """Run a program, given by its absolute path, without a time limit, and return its exit code. Raises OSError.

    It shares the console, so that Ctrl-C reaches it, too. Its output goes to stderr, because stdout is for the report.
    """
    try:
        process = subprocess.Popen(command, stdout=STDERR)
    except OSError as error:
        if getattr(error, "winerror", None) == ELEVATION_REQUIRED:
            return ELEVATION_REQUIRED
        raise
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_SECONDS)
    except KeyboardInterrupt:
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLEANUP_SECONDS)
        raise
