"""The configuration of git, read and written with `git config`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from doctor.host.base import Completed, GitScope
from doctor.host.readings import Absent, Found, Reading, Unreadable

Run = Callable[[Sequence[str]], Reading[Completed]]

# Exit codes of git-config(1)
NO_SUCH_SETTING = 1
NOTHING_TO_UNSET = 5


def read_setting(run: Run, name: str, scope: GitScope) -> Reading[str]:
    """Return a setting as text. `run` runs a command."""
    own = _get(run, "--global", name)
    return _get(run, "--system", name) if scope == "effective" and isinstance(own, Absent) else own


def write_setting(run: Run, name: str, value: str | None) -> None:
    """Set a setting of this user; None removes it. Raises OSError."""
    if value is not None:
        _change(run, "--global", name, value)
        return
    origin = _git(run, "--global", "-z", "--show-origin", "--get", name)
    _change(run, "--global", "--unset", name)
    if isinstance(origin, Found):
        location, _, _ = origin.value.stdout.partition("\0")
        _remove_if_empty(Path(location.removeprefix("file:")))


def _remove_if_empty(file: Path) -> None:
    """Git creates the file for the first setting and leaves it empty when the last one is removed."""
    if file.is_file() and file.stat().st_size == 0:
        file.unlink()


def _git(run: Run, *arguments: str) -> Found[Completed] | Unreadable:
    completed = run(["git", "config", *arguments])
    return Unreadable("git is not installed") if isinstance(completed, Absent) else completed


def _get(run: Run, scope: str, name: str) -> Reading[str]:
    completed = _git(run, scope, "--get", name)
    if isinstance(completed, Unreadable):
        return completed
    if completed.value.exit_code == NO_SUCH_SETTING:
        return Absent()
    if completed.value.exit_code == 0:
        return Found(completed.value.stdout.removesuffix("\n"))
    return Unreadable(_complaint(completed.value))


def _change(run: Run, *arguments: str) -> None:
    completed = _git(run, *arguments)
    if isinstance(completed, Unreadable):
        raise OSError(completed.reason)
    if completed.value.exit_code not in (0, NOTHING_TO_UNSET):
        raise OSError(_complaint(completed.value))


def _complaint(completed: Completed) -> str:
    first_line = completed.stderr.strip().partition("\n")[0]
    return f"git config ended with exit status {completed.exit_code}: {first_line or 'no reason given'}"
