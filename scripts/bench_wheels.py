"""Time the search for a wheel, including reading the catalogue but not imports (limit: 20 ms).

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
from wheels.resolve import resolve

LIMIT = 0.020  # seconds
TORCH = TorchBuild(Version("2.8.0"), "cu128")
TOO_NEW = TorchBuild(Version("2.15.0"), "cu130")


def match(machine: Machine) -> None:
    flash_attn.choose(machine, TORCH, read_catalogue(SHIPPED))


def no_match(machine: Machine) -> None:
    assert flash_attn.choose(machine, TOO_NEW, read_catalogue(SHIPPED)).item is None


def whole_plan(machine: Machine) -> None:
    resolve(machine, read_catalogue(SHIPPED))


def main() -> int:
    """Print the table. Return 1 if a match takes longer than the limit."""
    rounds = parse_rounds(__doc__, 25).parse_args().rounds
    table = Table("platform", "", "fastest ms", "median ms", "limit ms")
    slow = False
    for platform in ("win_amd64", "linux_x86_64"):
        machine = Machine("3.12", platform, compute_capabilities=((8, 9),), driver="581.80")
        for name, work, limit in (
            ("match", match, LIMIT),
            ("no wheel fits", no_match, None),
            ("whole plan", whole_plan, None),
        ):
            taken = [seconds(partial(work, machine)) for _ in range(rounds)]
            slow |= limit is not None and min(taken) > limit
            shown = f"{1000 * limit:.0f}" if limit else ""
            figures = (f"{1000 * each:.1f}" for each in (min(taken), statistics.median(taken)))
            table.add_row(platform, name, *figures, shown)
    Console(width=100).print(table)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
