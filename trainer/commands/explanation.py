"""Printing errors: their message, or for unexpected ones the doctor's explanation."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import traceback
from collections.abc import Iterator

import typer

from trainer.commands.output import echo, echo_error
from trainer.commands.required_packages import broken_package
from trainer.errors import RunError, UserError

TIMEOUT = 60.0  # seconds


def explanation(error: Exception) -> str:
    """Return the doctor's explanation of the known failures in this error's traceback; empty if there are none.

    The doctor runs in a child process, because this one may have lost its GPU or some of its libraries. If the doctor
    fails, its own error is ignored so that it does not hide this one.
    """
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    command = [sys.executable, "-X", "utf8", "-m", "aios", "doctor", "explain-log", "-"]
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Print a UserError or RunError and exit with its status. Re-raise any other error, after the doctor's explanation."""
    try:
        yield
    except (UserError, RunError) as error:
        echo_error(str(error))
        raise typer.Exit(2 if isinstance(error, UserError) else 1) from None
    except BrokenPipeError:  # the reader of our output has exited
        raise
    except (ImportError, OSError) as error:
        if problem := broken_package(error):
            echo_error(problem)
            raise typer.Exit(2) from None
        _explain(error)
        raise
    except Exception as error:
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    if known := explanation(error):
        echo(f"\nThe doctor's explanation of the error below:\n\n{known}\n", err=True)
