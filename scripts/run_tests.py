"""Run all checks of the project: ruff, mypy, then the test suite. Arguments go to pytest.

Without an NVIDIA GPU, tests that need one are deselected. Tests that need something else are skipped with the reason.
Tests marked `long` run only with `-m long`. Without arguments, the suite runs in three parts side by side: the tests under
Wine (which share one Wine box), those of the trainer, and all others. Only the first prints its output while it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile

from environment import Environment, PreparationError, has_gpu, say

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "--platform", "linux"],
    # The Wine scripts run only on Linux. Both runs of mypy run at once, so this one has a cache of its own
    ["mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32", "doctor", "gui", "trainer"],
)
PARTS = {
    "under Wine": ("wine", []),
    "of the trainer": ("not wine", ["tests/trainer"]),
    "of everything else": ("not wine", ["--ignore", "tests/trainer"]),
}

SLOWEST = ["--durations=15"]  # shows what a shorter run would have to leave out
LINES_OF_A_FAILURE = 80


@dataclass(frozen=True)
class Failure:
    """A module that failed: its exit status, and the last lines of its output."""

    status: int
    end: tuple[str, ...]


def main() -> int:
    """Run all checks, even after one fails. Return the exit status of the last that failed."""
    environment = Environment()
    try:
        environment.prepare("test")
    except PreparationError as error:
        say(f"\n{error}")
        return 1
    failed = side_by_side(environment, {" ".join(check): check for check in CHECKS})
    gpu = "" if has_gpu() else "not gpu"
    if sys.argv[1:] or os.name == "nt":
        say("=== pytest")
        status = environment.run("-m", "pytest", *["-m", gpu] * bool(gpu), *sys.argv[1:])
        return say_failures(failed) or status
    os.environ["PYTHONUNBUFFERED"] = "1"  # so that progress shows although the output is a pipe
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    parts = {
        f"pytest: the tests {name}": [
            "pytest",
            "-m",
            " and ".join(filter(None, (marker, gpu))),
            *SLOWEST,
            *paths,
        ]
        for name, (marker, paths) in PARTS.items()
    }
    return say_failures(failed | side_by_side(environment, parts))


def side_by_side(environment: Environment, modules: dict[str, list[str]]) -> dict[str, Failure]:
    """Run modules of the environment in parallel, and print the output of each under its title, in order.

    The first prints while it runs.

    Returns:
        Those that failed, by title.
    """
    (first, command), *others = modules.items()
    failed = {}
    with ExitStack() as files:
        beside = []
        for title, module in others:
            output = files.enter_context(TemporaryFile())
            process = environment.start("-m", *module, output=output)
            if hasattr(os, "setpriority"):  # the first takes longest
                os.setpriority(os.PRIO_PROCESS, process.pid, 10)
            beside.append((title, output, process))
        run = environment.start("-m", *command, output=subprocess.PIPE)
        assert run.stdout
        for title, lines, process in [(first, run.stdout, run), *beside]:
            if process is not run:
                process.wait()
                lines.seek(0)
            say(f"=== {title}")
            end = deque[str](maxlen=LINES_OF_A_FAILURE)
            for line in lines:
                end.append(line.decode(errors="replace").rstrip())
                say(end[-1])
            if process.wait():
                failed[title] = Failure(process.returncode, tuple(end))
    return failed


def say_failures(failed: dict[str, Failure]) -> int:
    """Print the end of each output again, at the end of a long record. Return the status of the last that failed."""
    for title, failure in failed.items():
        say(f"=== failed with status {failure.status}: {title}")
        for line in failure.end:
            say(line)
    return failure.status if failed else 0


if __name__ == "__main__":
    sys.exit(main())
