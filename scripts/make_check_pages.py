"""Write `docs/checks/*.md` from the checks themselves and from the recorded machines on which they are tested.

`python scripts/regenerate.py` runs it, after a change of a check or a case.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from doctor.check import SYSTEMS, Check  # noqa: E402
from doctor.checks import CHECKS  # noqa: E402
from doctor.diagnosis import diagnose  # noqa: E402
from doctor.failures.table import failures  # noqa: E402
from doctor.host.recorded import RecordedHost  # noqa: E402
from doctor.models import Finding, Fix  # noqa: E402
from doctor.report.check_explanation import AFTERWARDS  # noqa: E402
from tests.doctor.checks.cases import Case, cases_of  # noqa: E402

PAGES = ROOT / "docs" / "checks"
NOTICE = "<!-- Written by scripts/regenerate.py: change the check, not this page. -->\n"
UNDO = (
    "Undo walks the same steps backwards and puts back what was there before: a value that was absent is absent\n"
    "again, a type is kept. Where somebody changed a value in between, undo leaves it and says so."
)


def _cell(text: str) -> str:
    """Text from a machine, as it stands, in a table."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\r", "").replace("\n", " ") + "`"


def _row(case: Case, finding: Finding) -> str:
    return f"| {finding.status} | {case.name} | {_cell(finding.summary)} |"


def _finding(case: Case) -> Finding:
    findings = diagnose(RecordedHost(case.machine), [case.check]).findings
    return next(finding for finding in findings if finding.check == case.check.id)


def _fix_section(fix: Fix) -> str:
    kind = "Safe" if fix.applicability == "safe" else "May not be right everywhere, so it has to be named"
    undone = "undone by `aios doctor undo`" if fix.reversible else "the doctor cannot undo it"
    rights = " It asks for administrator rights." if fix.elevated else ""
    parts = [
        f"### `{fix.id}`\n",
        f"{kind}; {undone}.{rights} It does, in this order:\n",
        *(f"* {action.describe()}" for action in fix.actions),
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
    """Where it stands: on which systems, behind which checks, before which failures."""
    lines = [f"On {', '.join(name for key, name in SYSTEMS.items() if key in check.systems)}."]
    if check.online:
        lines.append("It uses the network: `--offline` leaves it out.")
    if check.because_of:
        lines.append(f"Where one of these fails, this one waits for it: {_links(check.because_of)}.")
    if check.at_times_because_of:
        lines.append(f"Some of its failures wait for {_links(check.at_times_because_of)}.")
    if rows := [row for row in failures().failures if row.check == check.id]:
        ahead = "; ".join(f"{row.id} {row.title}" for row in rows)
        lines.append(f"It sees these [known failures](../failures.md) before they happen: {ahead}.")
    return "\n".join(lines) + "\n"


def page(check: Check) -> str:
    """The page of one check."""
    judged = [(case, _finding(case)) for case in cases_of(check)]
    fixes = {f.fix.id: f.fix for _, f in judged if f.fix and f.fix.actions}
    parts = [
        NOTICE,
        f"# {check.id}\n",
        _place(check),
        f"## What it looks at\n\n{check.looks_at}\n",
        f"## Why it matters\n\n{check.why}\n",
        "## What it reports\n\n| status | where | it says |\n|---|---|---|\n"
        + "\n".join(_row(case, finding) for case, finding in judged)
        + "\n",
        f"## By hand\n\n{check.by_hand}\n",
    ]
    if fixes:
        parts.append(
            f"## By the doctor\n\n    aios doctor fix {check.id} --dry-run\n    aios doctor fix {check.id}\n"
        )
        parts += [_fix_section(fix) for fix in fixes.values()]
    return "\n".join(parts)


def index() -> str:
    """The list of all checks."""
    rows = "\n".join(
        f"| [{check.id}]({check.id}.md) | {check.group} | {check.looks_at} |" for check in CHECKS
    )
    return f"{NOTICE}\n# Checks\n\n| check | group | looks at |\n|---|---|---|\n{rows}\n"


def pages() -> dict[str, str]:
    """Every page, by file name."""
    return {"index.md": index(), **{f"{check.id}.md": page(check) for check in CHECKS}}


def main() -> None:
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
