"""Load the doctor's capability file, or have the doctor write a new one if it is missing, damaged or out of date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from doctor.capability import Capability, CapabilityProblem, current_fingerprint, default_path, read, stale
from trainer.errors import UserError

CHECKS = (
    "backend-flash-attn-2",
    "backend-flash-attn-4",
    "backend-hub-kernels",
    "backend-xformers",
    "backend-sdpa",
    "backend-manual",
)
TIMEOUT = 600.0  # seconds; importing torch for the first time takes minutes on some machines


class CapabilityError(UserError):
    """The capability file cannot be used, and --strict-capability was given."""


def load(path: Path | None = None, *, strict: bool = False, say: Callable[[str], None]) -> Capability | None:
    """The proven capabilities of each attention backend on this machine.

    If the file is missing, damaged or out of date, one line says so, and the doctor proves the backends again and writes
    a new file.

    Args:
        path: the file; None for the default path.
        strict: raise an error instead.
        say: prints the line.

    Returns:
        None if the doctor wrote no usable file either.

    Raises:
        CapabilityError: strict, and the file is missing, damaged or out of date.
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
        raise CapabilityError(f"The capability file {path} {problem}. Run `aios doctor` to write a new one.")
    say(f"The capability file {path} {problem}; testing the attention backends again.")
    failure = _probe(path)
    found = read(path)
    if isinstance(found, Capability) and found != known:
        return found
    say(
        f"The doctor wrote no capability file ({failure or 'no reason given'}). Using only backends that come with torch."
    )
    return None


def _probe(path: Path) -> str | None:
    """Have the doctor prove the backends and write `path`. Returns the last line of its errors, or None."""
    only = [part for check in CHECKS for part in ("--only", check)]
    command = [sys.executable, "-m", "aios", "doctor", *only, "--json", "--capability-file", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).splitlines()[0]
    errors = done.stderr.decode(errors="backslashreplace").strip().splitlines()
    return errors[-1] if errors else None
