"""Run all checks of the project: ruff, mypy, then the test suite. Arguments go to pytest.

Without an NVIDIA GPU, tests that need one are deselected. Tests that need something else are skipped with the reason.
Tests marked `long` run only with `-m long`. The tests under Wine run one at a time, in parallel with all others, whose
output follows at the end.
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
    ["mypy", "--platform", "win32", "doctor", "trainer"],  # the Wine scripts run only on Linux
)


def main() -> int:
    """Run all checks, even after one fails. Return the exit status of the last that failed."""
    environment = Environment()
    try:
        environment.prepare("test")
    except PreparationError as error:
        say(f"\n{error}")
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
    """Run the tests under Wine and all others in parallel."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    under_wine, others = (" and ".join(filter(None, (part, gpu))) for part in ("wine", "not wine"))
    with TemporaryFile() as output:
        beside = environment.start("-m", "pytest", "-m", others, output=output)
        say("=== pytest: the tests under Wine (all others run in parallel)")
        status = environment.run("-m", "pytest", "-m", under_wine)
        status = beside.wait() or status
        say("=== pytest: all others")
        output.seek(0)
        for line in output:
            say(line.decode(errors="replace").rstrip())
    return status


if __name__ == "__main__":
    sys.exit(main())
