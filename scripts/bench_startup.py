"""How long the commands take to start, beside what people know: every figure is a ratio within one run.

    python scripts/bench_startup.py [--rounds 15]

* `aios --help` against the `--help` of a three-line typer app (at most 1.3 times)
* `aios doctor` without the probes that import torch against `python -m torch.utils.collect_env` (at most half)

The variants take turns, round by round, each in a fresh process; the ratio is the median over the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

THREE_LINES = "import typer\ndef main(name: str = 'you'): typer.echo(name)\ntyper.run(main)"
AIOS = [sys.executable, "-m", "aios"]
COMPARISONS: tuple[tuple[str, Sequence[str], str, Sequence[str], float], ...] = (
    (
        "aios --help",
        [*AIOS, "--help"],
        "three-line typer app --help",
        [sys.executable, "-c", THREE_LINES, "--help"],
        1.3,
    ),
    (
        "aios doctor --skip backend-*",
        [*AIOS, "doctor", "--skip", "backend-*"],
        "python -m torch.utils.collect_env",
        [sys.executable, "-m", "torch.utils.collect_env"],
        0.5,
    ),
)


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """Wall time of one run. Raises RuntimeError where the program itself failed."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    elapsed = time.perf_counter() - began
    if done.returncode not in (0, 1, 3):  # the doctor says by its status what it found
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return elapsed


def main() -> int:
    """Print the table. Gives 1 where a limit is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    table = Table("command", "median ms", "against", "median ms", "ratio", "limit")
    too_slow = False
    with tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, "AIOS_HOME": state, "PYTHONPATH": str(Path(__file__).parents[1])}
        for ours, our_command, theirs, their_command, limit in COMPARISONS:
            seconds(our_command, environment), seconds(their_command, environment)  # files into the cache
            pairs = [
                (seconds(our_command, environment), seconds(their_command, environment))
                for _ in range(rounds)
            ]
            ratio = statistics.median(our / their for our, their in pairs)
            too_slow |= ratio > limit
            our_median, their_median = (
                f"{1000 * statistics.median(column):.0f}" for column in zip(*pairs, strict=True)
            )
            table.add_row(ours, our_median, theirs, their_median, f"{ratio:.2f}", f"{limit:g}")
    Console(width=120).print(table)
    return int(too_slow)


if __name__ == "__main__":
    sys.exit(main())
