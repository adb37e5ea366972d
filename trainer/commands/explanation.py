"""What a person is told of an error: its message, or what the doctor makes of one that nobody expected."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import traceback
from collections.abc import Iterator

import typer

from trainer.errors import RunError, UserError

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


@contextlib.contextmanager
def told_errors() -> Iterator[None]:
    """Print the errors that are meant for a person, and end with their status. Any other goes on, with what is known of it."""
    try:
        yield
    except (UserError, RunError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UserError) else 1) from None
    except BrokenPipeError:  # the reader has gone
        raise
    except Exception as error:
        if known := explanation(error):
            typer.echo(f"\nThe doctor on the error below:\n\n{known}\n", err=True)
        raise
