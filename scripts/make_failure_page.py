"""Write `docs/failures.md` from the table of known failures: which check sees each one, and which test holds that.

`python scripts/regenerate.py` runs it, after a change of the table or a new recorded machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from doctor.failures.table import Failure, FailureTable, failures  # noqa: E402

PAGE = ROOT / "docs" / "failures.md"
SAMPLES = Path("tests/doctor/failures/symptoms.txt")
INTRODUCTION = """\
<!-- Written by scripts/regenerate.py: change doctor/failures/failures.json, not this page. -->

# Known failures

What goes wrong when people install and use torch, flash-attn, xformers and Triton, above all on Windows: {count} failures.
`aios doctor` sees {seen} of them before they happen, each by the check that its row names. {symptoms} leave a trace in what was printed:

    pip install flash-attn > log.txt 2>&1
    aios doctor explain-log log.txt

The last column is the test: a recorded machine that has this very failure, else the machines on which its check is tested,
else a sample of the log that it leaves. The machines are typed by hand, from what is known of each failure.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _test(failure: Failure) -> str:
    """The most telling one that there is."""
    candidates = [Path(f"tests/machines/failures/{failure.id}.json")]
    if failure.check:
        candidates.append(Path(f"tests/machines/cases/{failure.check}.json"))
    return next((path for path in candidates if (ROOT / path).is_file()), SAMPLES).as_posix()


def _row(failure: Failure) -> str:
    title = f"[{_cell(failure.title)}]({failure.link})" if failure.link else _cell(failure.title)
    check = f"[{failure.check}](checks/{failure.check}.md)" if failure.check else "only in a log"
    cells = (
        failure.id,
        f"**{title}** {_cell(failure.cause)}",
        _cell(failure.fix),
        check,
        f"`{_test(failure)}`",
    )
    return f"| {' | '.join(cells)} |"


def page(table: FailureTable) -> str:
    """The whole page."""
    parts = [
        INTRODUCTION.format(
            count=len(table.failures),
            seen=sum(failure.check is not None for failure in table.failures),
            symptoms=sum(bool(failure.symptoms) for failure in table.failures),
        )
    ]
    for letter, heading in table.groups.items():
        rows = "\n".join(_row(failure) for failure in table.failures if failure.id[0] == letter)
        parts.append(
            f"## {heading}\n\n| id | what happens | what to do | check | test |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page(failures()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
