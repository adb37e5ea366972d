"""The report as Markdown, to paste into an issue."""

from __future__ import annotations

import re
from collections.abc import Mapping

from doctor.models import Report
from doctor.report.wording import OPEN, advice, counts, evidence_line, machine_lines, next_step, waiting_for
from doctor.visible import visible


def to_markdown(report: Report, packages: Mapping[str, str] | None = None) -> str:
    """The machine, the details of the open findings, then a table of all findings. Text from the machine is escaped.

    `packages`: versions of packages by name.
    """
    lines = [
        f"# aios doctor: {counts(report)}",
        "",
        *(f"{_escape(line)}  " for line in machine_lines(report)),
        _escape(f"aios {report.aios_version}, {report.started_at}"),
    ]
    lines += [f"- {_escape(reminder)}" for reminder in report.reminders]
    if packages:
        lines += ["", _escape(", ".join(f"{name} {version}" for name, version in packages.items()) + ".")]
    for finding in report.findings:
        if finding.status not in OPEN:
            continue
        lines += ["", f"## {finding.check}", "", f"{finding.status}: {_escape(finding.summary)}", ""]
        for name in ("measured", "expected", "impact"):
            if value := getattr(finding, name):
                lines.append(f"- {name}: {_escape(value)}")
        lines += [f"- {_escape(evidence_line(evidence))}" for evidence in finding.evidence]
        if todo := str(advice(finding, report.machine.environment)):
            lines.append(f"- to do: {_escape(todo)}")
        if waiting := waiting_for(report, finding.check):
            lines.append(f"- skipped because of it: {', '.join(waiting)}")
    lines += ["", "| check | status | summary |", "|---|---|---|"]
    lines += [f"| {f.check} | {f.status} | {_escape(f.summary)} |" for f in report.findings]
    return "\n".join([*lines, "", _escape(str(next_step(report))), ""])


def _escape(text: str) -> str:
    """Escape text so that Markdown shows it unchanged, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", visible(" ".join(text.split())))
