"""How long a match takes, reading and validating the catalogue included, in a process that has its imports (at most 20 ms).

python scripts/bench_wheels.py [--rounds 25]
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

from packaging.version import Version
from rich.console import Console
from rich.table import Table
from side_by_side import parse_rounds, seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wheels import flash_attn
from wheels.catalogue import SHIPPED, read_catalogue
from wheels.machine import Machine, TorchBuild
from wheels.plan import plan

LIMIT = 0.020  # seconds
TORCH = TorchBuild(Version("2.8.0"), "cu128")


def a_match(machine: Machine) -> None:
    flash_attn.choose(machine, TORCH, read_catalogue(SHIPPED))


def a_plan(machine: Machine) -> None:
    plan(machine, read_catalogue(SHIPPED))


def main() -> int:
    """Print the table. Gives 1 where a match takes longer than the limit."""
    rounds = parse_rounds(__doc__, 25).parse_args().rounds
    table = Table("platform", "match, median ms", "slowest ms", "whole plan, median ms")
    slow = False
    for platform in ("win_amd64", "linux_x86_64"):
        machine = Machine("3.12", platform, compute_capabilities=((8, 9),), driver="581.80")
        matches = [seconds(partial(a_match, machine)) for _ in range(rounds)]
        plans = [seconds(partial(a_plan, machine)) for _ in range(rounds)]
        median = statistics.median(matches)
        slow |= median > LIMIT
        figures = (median, max(matches), statistics.median(plans))
        table.add_row(platform, *(f"{1000 * figure:.1f}" for figure in figures))
    Console(width=100).print(table)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
