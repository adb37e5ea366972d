"""Does an installed package work? It is imported and used in a child process, forwards and backwards."""

from __future__ import annotations

from pathlib import Path

from doctor.host import Absent, Completed, Host, Unreadable
from doctor.host.completed import crashed, exit_code, last_error_line

CHILD = Path(__file__).with_name("verification_child.py")
TIMEOUT = 600.0  # seconds: the first import reads gigabytes, and Triton compiles


def verify(host: Host, name: str, version: str, *, gpu: bool) -> tuple[str, str] | None:
    """Use one installed package. None: it works; else the reason and everything that the child printed."""
    ran = host.run(
        [host.identity.executable, str(CHILD), name, version, "cuda" if gpu else "cpu"],
        TIMEOUT,
        {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if isinstance(ran, Absent):
        return "this Python cannot be started", ""
    if isinstance(ran, Unreadable):
        return ran.reason, ""
    return _failure(ran.value)


def _failure(completed: Completed) -> tuple[str, str] | None:
    if completed.exit_code == 0:
        return None
    code = exit_code(completed)
    ended = f"it crashed ({code})" if crashed(completed) else f"exit code {code}"
    return last_error_line(completed) or ended, completed.stdout + completed.stderr
