"""Write `docs/failures.md` from the table of known failures, with the check that predicts each failure.

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
FOUND = Path("tests/doctor/failures/found.txt")
VERDICTS = ("right", "partly", "wrong", "silent")
INTRODUCTION = """\
<!-- Written by scripts/regenerate.py: change doctor/failures/failures.json, not this page. -->

# Known failures

This page lists {count} ways in which installing and using torch, flash-attn, xformers and Triton fails, most of them on Windows.
`aios doctor` predicts {seen} of them before they happen, with the check that is named below the failure. {symptoms} can be recognized in
the output of the command that failed; the text that it prints is shown below the failure. To find the failure in a log:

    pip install flash-attn > log.txt 2>&1
    aios doctor explain-log log.txt

Many logs of failures that are not in the table yet cannot be explained. The rate was measured on 30 November and 1 December 2026 with {reports} public
reports in several sets. Each set was collected and measured before the table was extended for it:

| set | reports | right cause named first | right cause named later | only a wrong cause | no cause |
|---|---|---|---|---|---|
{rates}

These reports are now test cases, in `{found}`.
"""


def _sign(failure: Failure) -> str:
    """Return the fixed text of the symptom that shows the failure best."""
    if not failure.symptoms:
        return "nothing that is typical"
    best = min(failure.symptoms, key=lambda symptom: (symptom.generic, symptom.harmless))
    return f"`{literal(best.pattern).strip()}`" + (
        ", which other failures print, too" if best.generic else ""
    )


def in_markdown(text: str) -> str:
    r"""Return a text with its backslashes kept: outside of code, Markdown takes the one in `C:\.venv` for an escape."""
    return re.sub(r"(`[^`]*`)|\\(?=[^\w\s])", lambda found: found[1] or r"\\", text)


def prose(failure: Failure, text: str, package: str) -> str:
    """Return one of the texts of a failure, about a package that no log names, as Markdown."""
    filled = failure.text(text.replace("install {package}`", "install PACKAGE`"), package)
    return in_markdown(filled[:1].upper() + filled[1:] if text.startswith("{") else filled)


def _section(failure: Failure) -> str:
    source = f" [Source]({failure.link})" if failure.link else ""
    check = f"[{failure.check}](checks/{failure.check}.md)" if failure.check else "no check"
    return (
        f"### {failure.id} · {prose(failure, failure.title, 'a package')} {{#{failure.id.lower()}}}\n\n"
        f"{prose(failure, failure.cause, 'the package')}{source}\n\n"
        f"**What to do:** {prose(failure, failure.fix, 'the package')}\n\n"
        f"In a log: {_sign(failure)} · Predicted by: {check}\n"
    )


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
        parts.append(f"## {heading}\n")
        parts += [_section(failure) for failure in table.failures if failure.id[0] == letter]
    return "\n".join(parts)


def main() -> None:
    PAGE.write_text(page(failures()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
