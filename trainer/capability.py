"""What the trainer knows about this machine: the doctor's capability file, or a fresh one where that is no use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from doctor.capability import Capability, CapabilityProblem, current_fingerprint, default_path, read, stale
from trainer.errors import UserError

CHECKS = ("backend-flash-attn-2", "backend-xformers", "backend-sdpa", "backend-manual")
TIMEOUT = 600.0  # seconds; importing torch for the first time takes minutes on some machines


class CapabilityError(UserError):
    """The capability file cannot be used, and the run is to be strict about that."""


def load(path: Path | None = None, *, strict: bool = False, say: Callable[[str], None]) -> Capability | None:
    """What each attention backend can do here.

    A file that is missing, damaged or stale is never trusted: that is said in one line, the doctor tries the backends
    again and writes a new file, and its result counts.

    Args:
        path: the file; None for the usual place.
        strict: raise instead.
        say: takes the line.

    Returns:
        None where even that gave nothing.

    Raises:
        CapabilityError: strict, and the file is missing, damaged or stale.
    """
    path = default_path(path)
    known = read(path)
    if isinstance(known, CapabilityProblem):
        problem = known.reason
    else:
        changes = stale(known, current_fingerprint())
        if changes is None:
            return known
        problem = f"is out of date ({changes})"
    if strict:
        raise CapabilityError(
            f"The capability file {path} {problem}. Run `aios doctor`, which writes a new one."
        )
    say(f"The capability file {path} {problem}; trying the attention backends again.")
    failure = _probe(path)
    found = read(path)
    if isinstance(found, Capability) and found != known:
        return found
    say(
        f"That gave no capability file ({failure or 'none was written'}); going on with what torch itself brings."
    )
    return None


def _probe(path: Path) -> str | None:
    """Let the doctor try the backends and write `path`; what went wrong, if the doctor could not be run."""
    only = [part for check in CHECKS for part in ("--only", check)]
    command = [sys.executable, "-m", "aios", "doctor", *only, "--json", "--capability-file", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).splitlines()[0]
    said = done.stderr.decode(errors="backslashreplace").strip().splitlines()
    return said[-1] if said else None
