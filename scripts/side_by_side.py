"""Compare the time of two programs, which run in turn so that other load on the machine affects both."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Comparison:
    """Our program and the one it is compared with. `limit` is the largest allowed ratio of their times."""

    ours: str
    run_ours: Callable[[], object]
    theirs: str
    run_theirs: Callable[[], object]
    limit: float


def parse_rounds(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the option `--rounds`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def seconds(run: Callable[[], object]) -> float:
    """Return the wall time of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(comparisons: Sequence[Comparison], rounds: int) -> int:
    """Print the median times and the median ratio. Return 1 if a limit is exceeded."""
    table = Table("ours", "median ms", "against", "median ms", "ratio", "limit")
    too_slow = False
    for one in comparisons:
        one.run_ours(), one.run_theirs()  # warm up: the files are cached afterwards
        pairs = [(seconds(one.run_ours), seconds(one.run_theirs)) for _ in range(rounds)]
        ratio = statistics.median(our / their for our, their in pairs)
        too_slow |= ratio > one.limit
        ours, theirs = (f"{1000 * statistics.median(column):.0f}" for column in zip(*pairs, strict=True))
        table.add_row(one.ours, ours, one.theirs, theirs, f"{ratio:.2f}", f"{one.limit:g}")
    Console(width=120).print(table)
    return int(too_slow)
