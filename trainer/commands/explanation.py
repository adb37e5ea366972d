"""What the doctor makes of an error that nobody expected."""

from __future__ import annotations

import subprocess
import sys
import traceback

TIMEOUT = 60.0  # seconds


def explanation(error: Exception) -> str:
    """The failures that the doctor knows in this error's traceback, for a person; empty where it knows none.

    It runs in a process of its own: this one may have lost its GPU, or half of its libraries. Whatever goes wrong there
    is not worth hiding the error for.
    """
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    command = [sys.executable, "-X", "utf8", "-m", "aios", "doctor", "explain-log", "-"]
    try:
        done = subprocess.run(
            command,
            input=told,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
