"""Time two programs in turns, round by round, each in a fresh process: every figure is a ratio within one run."""

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
    """Our program and theirs, run by calling them; `limit` is the largest ratio that is allowed."""

    ours: str
    run_ours: Callable[[], object]
    theirs: str
    run_theirs: Callable[[], object]
    limit: float


def parse_rounds(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with `--rounds`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(comparisons: Sequence[Comparison], rounds: int) -> int:
    """Print medians and the median of the rounds' ratios. Gives 1 where a limit is passed."""
    table = Table("ours", "median ms", "against", "median ms", "ratio", "limit")
    too_slow = False
    for one in comparisons:
        one.run_ours(), one.run_theirs()  # files into the cache
        pairs = [(seconds(one.run_ours), seconds(one.run_theirs)) for _ in range(rounds)]
        ratio = statistics.median(our / their for our, their in pairs)
        too_slow |= ratio > one.limit
        ours, theirs = (f"{1000 * statistics.median(column):.0f}" for column in zip(*pairs, strict=True))
        table.add_row(one.ours, ours, one.theirs, theirs, f"{ratio:.2f}", f"{one.limit:g}")
    Console(width=120).print(table)
    return int(too_slow)
