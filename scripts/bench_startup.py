"""Compare the time of `aios --help` with that of a three-line typer app (limit: 1.3 times).

python scripts/bench_startup.py [--rounds 15]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from side_by_side import Comparison, compare, parse_rounds

THREE_LINES = "import typer\ndef main(name: str = 'you'): typer.echo(name)\ntyper.run(main)"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def _help_of(*program: str) -> None:
    command: Sequence[str] = [sys.executable, *program, "--help"]
    subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def main() -> int:
    """Print the table. Return 1 if the limit is exceeded."""
    rounds = parse_rounds(__doc__, 15).parse_args().rounds
    comparison = Comparison(
        ours="aios --help",
        run_ours=lambda: _help_of("-m", "aios"),
        theirs="three-line typer app --help",
        run_theirs=lambda: _help_of("-c", THREE_LINES),
        limit=1.3,
    )
    return compare([comparison], rounds)


if __name__ == "__main__":
    sys.exit(main())
