"""Compare the time of `aios doctor` with that of `python -m torch.utils.collect_env` (limit: half of it).

    python scripts/bench_doctor.py [--rounds 9]

The doctor runs without the probes that import torch, and offline, because collect_env does not use the network. Runs on this
system, and under Wine if its box exists (`scripts/windows_under_wine.py setup`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from side_by_side import Comparison, compare, parse_rounds

if sys.platform == "linux":
    from wine.box import Box, box_folder

ROOT = Path(__file__).resolve().parents[1]
DOCTOR = ("-m", "aios", "doctor", "--skip", "backend-*", "--offline")
COLLECT_ENV = ("-m", "torch.utils.collect_env")
LIMIT = 0.5


def _accepted(done: subprocess.CompletedProcess[bytes]) -> None:
    """Raise RuntimeError if a program failed. The exit statuses 1 and 3 of the doctor report what it found."""
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(f"{done.args}: {done.stderr.decode(errors='replace').strip()}")


def _comparison(where: str, run: Callable[[Sequence[str]], Callable[[], None]]) -> Comparison:
    return Comparison(
        f"aios doctor without torch probes{where}",
        run(DOCTOR),
        f"collect_env{where}",
        run(COLLECT_ENV),
        LIMIT,
    )


def _here(state: str) -> Comparison:
    environment = {**os.environ, "AIOS_HOME": state, "PYTHONPATH": str(ROOT)}

    def run(arguments: Sequence[str]) -> Callable[[], None]:
        command = [sys.executable, *arguments]
        return lambda: _accepted(
            subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        )

    return _comparison("", run)


def _under_wine(state: str) -> list[Comparison]:
    """Return the comparison under Wine; empty if there is no box."""
    if sys.platform != "linux" or not (box := Box(box_folder())).ready:
        return []
    environment = {"AIOS_HOME": box.windows_path(Path(state)), "PYTHONPATH": box.windows_path(ROOT)}

    def run(arguments: Sequence[str]) -> Callable[[], None]:
        return lambda: _accepted(box.run(["python", *arguments], environment=environment))

    return [_comparison(" (Wine)", run)]


def main() -> int:
    """Print the table. Return 1 if a limit is exceeded."""
    rounds = parse_rounds(__doc__, 9).parse_args().rounds
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as under_wine:
        return compare([_here(here), *_under_wine(under_wine)], rounds)


if __name__ == "__main__":
    sys.exit(main())
