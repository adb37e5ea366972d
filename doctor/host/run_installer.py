"""Running an installer in sight of the person who agreed to it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress

STDERR = 2
ELEVATION_REQUIRED = 740  # as Windows and installers call it
POLL_SECONDS = 0.5  # a wait without end cannot be interrupted by Ctrl-C on Windows
SECONDS_TO_TIDY_UP = 30.0


def run_in_sight(command: Sequence[str]) -> int:
    """Run an absolute path to its end, however long that takes; gives its exit code. Raises OSError.

    It shares the console, where Ctrl-C reaches it, too. stdout is for the report: what it prints goes to stderr.
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
            process.wait(SECONDS_TO_TIDY_UP)
        raise
