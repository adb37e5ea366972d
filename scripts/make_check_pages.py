"""Write `docs/checks/*.md` from the checks and from the recorded machines that they are tested on.

`python scripts/regenerate.py` runs it after a change of a check or a case.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from make_failure_page import in_markdown, prose  # noqa: E402

from doctor.check import GROUPS, SYSTEMS, Check  # noqa: E402
from doctor.checks import CHECKS  # noqa: E402
from doctor.diagnosis import diagnose  # noqa: E402
from doctor.failures.table import failures  # noqa: E402
from doctor.host.recorded import RecordedHost  # noqa: E402
from doctor.models import Finding, Fix  # noqa: E402
from doctor.report.check_explanation import AFTERWARDS  # noqa: E402
from tests.doctor.checks.cases import Case, cases_of  # noqa: E402

INTRODUCTION = """\
`aios doctor` runs all of these, and skips those that do not apply to a machine. The page of a check says why it matters, what it can
report, and how to fix the problem with and without the doctor. `aios doctor explain` prints the same in a terminal:

    aios doctor explain long-paths
"""
PAGES = ROOT / "docs" / "checks"
NOTICE = "<!-- Written by scripts/regenerate.py: change the check, not this page. -->\n"
UNDO = (
    "Undo reverses the steps and restores the previous state: a value that did not exist is removed, and types are\n"
    "kept. A value that was changed in the meantime is left alone and reported."
)


def _cell(text: str) -> str:
    """Return text of a machine as a cell of a table."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\r", "").replace("\n", " ") + "`"


def _row(case: Case, finding: Finding) -> str:
    return f"| {finding.status} | {case.name} | {_cell(finding.summary)} |"


def _finding(case: Case) -> Finding:
    findings = diagnose(RecordedHost(case.machine), [case.check]).findings
    return next(finding for finding in findings if finding.check == case.check.id)


def _fix_section(fix: Fix) -> str:
    kind = "Safe" if fix.applicability == "safe" else "Not safe on every machine, so it has to be named"
    undone = "undone by `aios undo`" if fix.reversible else "cannot be undone by the doctor"
    rights = " It asks for administrator rights." if fix.elevated else ""
    parts = [
        f"### `{fix.id}`\n",
        f"{kind}; {undone}.{rights} Steps:\n",
        *(f"* {in_markdown(action.describe())}" for action in fix.actions),
        "",
    ]
    if fix.reversible:
        parts += [UNDO]
    if fix.restart != "none":
        parts += [f"It {AFTERWARDS[fix.restart]}."]
    return "\n".join(parts).rstrip() + "\n"


def _links(checks: Iterable[Check]) -> str:
    return ", ".join(f"[{check.id}]({check.id}.md)" for check in checks)


def _place(check: Check) -> str:
    """Return the systems, the checks that it depends on, and the failures that it predicts."""
    lines = [f"On {', '.join(name for key, name in SYSTEMS.items() if key in check.systems)}."]
    if check.online:
        lines.append("It uses the network; `--offline` skips it.")
    if check.because_of:
        lines.append(f"Skipped if one of these checks fails: {_links(check.because_of)}.")
    if check.at_times_because_of:
        lines.append(f"Some of its findings are consequences of {_links(check.at_times_because_of)}.")
    if rows := [row for row in failures().failures if row.check == check.id]:
        ahead = "; ".join(
            f"[{prose(row, row.title, 'a package')}](../failures.md#{row.id.lower()})" for row in rows
        )
        lines.append(f"It predicts these known failures: {ahead}.")
    return "\n".join(lines) + "\n"


def page(check: Check) -> str:
    """Return the page of one check."""
    judged = [(case, _finding(case)) for case in cases_of(check)]
    fixes = {f.fix.id: f.fix for _, f in judged if f.fix and f.fix.actions}
    parts = [
        NOTICE,
        f"# {check.id}\n",
        _place(check),
        f"## What it checks\n\n{in_markdown(check.looks_at)}\n",
        f"## Why it matters\n\n{in_markdown(check.why)}\n",
        "## What it reports\n\n| status | machine | summary |\n|---|---|---|\n"
        + "\n".join(_row(case, finding) for case, finding in judged)
        + "\n",
        f"## Fix it yourself\n\n{in_markdown(check.by_hand)}\n",
    ]
    if fixes:
        parts.append(
            f"## Let the doctor fix it\n\n    aios doctor fix {check.id} --dry-run\n    aios doctor fix {check.id}\n"
        )
        parts += [_fix_section(fix) for fix in fixes.values()]
    return "\n".join(parts)


def index() -> str:
    """Return the list of all checks."""
    tables = [
        f"## {name}\n\n| check | what it checks |\n|---|---|\n"
        + "\n".join(
            f"| [{c.id}]({c.id}.md) | {in_markdown(c.looks_at)} |" for c in CHECKS if c.group == group
        )
        for group, name in GROUPS.items()
    ]
    return f"{NOTICE}\n# Checks\n\n{INTRODUCTION}\n" + "\n\n".join(tables) + "\n"


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {"index.md": index(), **{f"{check.id}.md": page(check) for check in CHECKS}}


def main() -> None:
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
