"""Runs every check of the project: ruff, mypy, then the whole test suite. Arguments are handed on to pytest.

Tests that need an NVIDIA GPU are left out where there is none; what else cannot run here is skipped with its reason.
"""

from __future__ import annotations

import sys

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
    say("=== pytest")
    selection = [] if has_gpu() else ["-m", "not gpu"]
    return environment.run("-m", "pytest", *selection, *sys.argv[1:]) or status


if __name__ == "__main__":
    sys.exit(main())
