"""Runs every check of the project: ruff, mypy, then the whole test suite. Arguments are handed on to pytest.

Tests that need an NVIDIA GPU are left out where there is none; what else cannot run here is skipped with its reason.
The Windows under Wine serves one test at a time, so its tests run beside all others; whose words follow when both are
done.
"""

from __future__ import annotations

import os
import sys
from tempfile import TemporaryFile

from environment import Environment, PreparationError, has_gpu, say

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "--platform", "linux"],
    ["mypy", "--platform", "win32", "doctor", "trainer"],  # the Wine scripts are for Linux
)


def main() -> int:
    """Run all checks, whichever fail. Gives the exit status of the last that failed."""
    environment = Environment()
    try:
        environment.prepare("test")
    except PreparationError as trouble:
        say(f"\n{trouble}")
        return 1
    status = 0
    for check in CHECKS:
        say(f"=== {' '.join(check)}")
        status = environment.run("-m", *check) or status
    gpu = "" if has_gpu() else "not gpu"
    if sys.argv[1:] or os.name == "nt":
        say("=== pytest")
        return environment.run("-m", "pytest", *["-m", gpu] * bool(gpu), *sys.argv[1:]) or status
    return both_parts(environment, gpu) or status


def both_parts(environment: Environment, gpu: str) -> int:
    """The tests under Wine, and beside them all others."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    under_wine, others = (" and ".join(filter(None, (part, gpu))) for part in ("wine", "not wine"))
    with TemporaryFile() as words:
        beside = environment.start("-m", "pytest", "-m", others, output=words)
        say("=== pytest: the tests under Wine; all others run beside them")
        status = environment.run("-m", "pytest", "-m", under_wine)
        status = beside.wait() or status
        say("=== pytest: all others")
        words.seek(0)
        for line in words:
            say(line.decode(errors="replace").rstrip())
    return status


if __name__ == "__main__":
    sys.exit(main())
