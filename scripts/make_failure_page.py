"""Write `docs/failures.md` from the table of known failures, with the check that predicts each failure and its test.

`python scripts/regenerate.py` runs it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from doctor.failures.literal import literal  # noqa: E402
from doctor.failures.table import Failure, FailureTable, failures  # noqa: E402

PAGE = ROOT / "docs" / "failures.md"
SAMPLES = Path("tests/doctor/failures/symptoms.txt")
FOUND = Path("tests/doctor/failures/found.txt")
VERDICTS = ("right", "partly", "wrong", "silent")
INTRODUCTION = """\
<!-- Written by scripts/regenerate.py: change doctor/failures/failures.json, not this page. -->

# Known failures

This page lists {count} ways in which installing and using torch, flash-attn, xformers and Triton fails, most of them on Windows.
`aios doctor` predicts {seen} of them: the column *predicted by* names the check. {symptoms} can be recognized in the output of the command
that failed: the column *in a log* shows a part of a line that the failure prints. To find the failure in a log:

    pip install flash-attn > log.txt 2>&1
    aios doctor explain-log log.txt

The column *test* names the file that tests the row: a machine with this failure, the machines that test the check, or a sample of
a log. The machines are written by hand, from descriptions of the failure.

Many logs of failures that are not in the table yet cannot be explained. The rate was measured on 30 November 2026 with {reports} public
reports in several sets. Each set was collected and measured before the table was extended for it:

| set | reports | right cause named first | right cause named later | only a wrong cause | no cause |
|---|---|---|---|---|---|
{rates}

These reports are now test cases, in `{found}`.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _test(failure: Failure) -> str:
    """Return the most specific test file that exists."""
    candidates = [Path(f"tests/machines/failures/{failure.id}.json")]
    if failure.check:
        candidates.append(Path(f"tests/machines/cases/{failure.check}.json"))
    return next((path for path in candidates if (ROOT / path).is_file()), SAMPLES).as_posix()


def _line(failure: Failure) -> str:
    """Return the fixed text of the symptom that shows the failure best."""
    if not failure.symptoms:
        return "nothing"
    best = min(failure.symptoms, key=lambda symptom: (symptom.generic, symptom.harmless))
    return f"`{_cell(literal(best.pattern).strip())}`" + (" (possibly)" if best.generic else "")


def _row(failure: Failure) -> str:
    title = f"[{_cell(failure.title)}]({failure.link})" if failure.link else _cell(failure.title)
    check = f"[{failure.check}](checks/{failure.check}.md)" if failure.check else "only in a log"
    cells = (
        failure.id,
        f"**{title}** {_cell(failure.cause)}",
        _cell(failure.fix),
        check,
        _line(failure),
        f"`{_test(failure)}`",
    )
    return f"| {' | '.join(cells)} |"


def _rates() -> Counter[tuple[str, str]]:
    """Return the number of reports by set and by the verdict before the table was extended for them."""
    heads = re.findall(r"^== .*", (ROOT / FOUND).read_text(encoding="utf-8"), re.MULTILINE)
    fields = [head.split(" | ") for head in heads if head.count(" | ") >= 4]
    return Counter((name, before.split()[0]) for _, _, name, before, *_ in fields)


def _rate_rows(rates: Counter[tuple[str, str]]) -> str:
    rows = []
    for name in dict.fromkeys(name for name, _ in rates):
        numbers = [rates[name, verdict] for verdict in VERDICTS]
        rows.append(f"| {name} | {' | '.join(str(number) for number in (sum(numbers), *numbers))} |")
    return "\n".join(rows)


def page(table: FailureTable) -> str:
    """Return the content of the page."""
    parts = [
        INTRODUCTION.format(
            count=len(table.failures),
            seen=sum(failure.check is not None for failure in table.failures),
            symptoms=sum(bool(failure.symptoms) for failure in table.failures),
            reports=_rates().total(),
            rates=_rate_rows(_rates()),
            found=FOUND.as_posix(),
        )
    ]
    for letter, heading in table.groups.items():
        rows = "\n".join(_row(failure) for failure in table.failures if failure.id[0] == letter)
        parts.append(
            f"## {heading}\n\n| id | what happens | what to do | predicted by | in a log | test |\n|---|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page(failures()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
