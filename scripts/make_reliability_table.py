"""Try odd inputs, and write docs/benchmarks/odd-inputs.md: each kind with what aios promises and how its inputs ended.

    python scripts/make_reliability_table.py --seed 20261201
    python scripts/make_reliability_table.py journals --count 20      # some rows: the page is not written

The status is 1 if something of the user's was lost or an answer was unclear. Linux only, because the commands are forked.
"""

from __future__ import annotations

import argparse
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.odd_inputs.rows import ROWS, try_rows  # noqa: E402
from tests.faults.odd_inputs.trial import Row  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks" / "odd-inputs.md"
HEAD = """\
<!-- Written by scripts/make_reliability_table.py: change tests/faults/odd_inputs, not this page. -->

# Odd inputs

    python scripts/make_reliability_table.py {options}

The script makes {count} inputs, which depend on the seed, gives each to a command in a forked process, and counts how it ended:

* fine: status 0, and what it should have done is done
* refused: another status, and a sentence that says why
* lost: a file of the user was changed or removed
* unclear: a traceback, a hang (90 s), more than 16 GB of memory, a raw control character, no word, or status 0 while something is wrong

| inputs | what aios promises | tried | fine | refused | lost | unclear |
|---|---|---|---|---|---|---|
"""


def page(rows: list[Row], seed: int, limit: int) -> str:
    """Return the content of the page. limit: the inputs of each row at most; 0: all."""
    options = f"--seed {seed}{f' --count {limit}' if limit else ''}"
    lines = [
        f"| {row.name} | {ROWS[row.name].promise} | {sum(row.counts.values())} | {' | '.join(map(str, row.counts.values()))} |"
        for row in rows
    ]
    total = [sum(row.counts[verdict] for row in rows) for verdict in rows[0].counts]
    lines.append(f"| **all** | | {sum(total)} | {' | '.join(map(str, total))} |")
    found = [f"* {problem.partition(' (status')[0]}" for row in rows for problem in row.problems]
    day = datetime.now(timezone.utc).date().isoformat()
    tail = (
        f"\n{day}, seed {seed}; {platform.machine()}, {platform.system()}, Python {platform.python_version()}, "
        f"torch {version('torch')}, transformers {version('transformers')}.\n"
    )
    parts = [HEAD.format(options=options, count=sum(total)), *(f"{line}\n" for line in lines), tail]
    if found:
        parts.append("\nWhat was lost or unclear:\n\n" + "\n".join(found) + "\n")
    return "".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--count", type=int, default=0, help="inputs of each row; default: all")
    arguments = parser.parse_args()
    rows = try_rows(
        arguments.rows or [*ROWS], arguments.seed, arguments.count, lambda text: sys.stderr.write(f"{text}\n")
    )
    for row in rows:
        sys.stdout.write(f"{row.name}: {row.counts}\n")
    if not arguments.rows:
        PAGE.write_text(page(rows, arguments.seed, arguments.count), encoding="utf-8", newline="\n")
    return int(any(row.problems for row in rows))


if __name__ == "__main__":
    sys.exit(main())
