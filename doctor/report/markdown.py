"""The report as Markdown, to paste into an issue."""

from __future__ import annotations

import re

from doctor.models import Report
from doctor.report.wording import OPEN, advice, counts, evidence_line, machine_line, next_step


def to_markdown(report: Report) -> str:
    """A table of all findings, then the details of the open ones. The machine's text is escaped."""
    lines = [
        f"# aios doctor: {counts(report)}",
        "",
        _escape(f"{machine_line(report)}. aios {report.aios_version}, {report.started_at}."),
        "",
        "| check | status | summary |",
        "|---|---|---|",
        *(f"| {f.check} | {f.status} | {_escape(f.summary)} |" for f in report.findings),
    ]
    for finding in report.findings:
        if finding.status not in OPEN:
            continue
        lines += ["", f"## {finding.check}", ""]
        for name in ("measured", "expected", "impact"):
            if value := getattr(finding, name):
                lines.append(f"- {name}: {_escape(value)}")
        lines += [f"- {_escape(evidence_line(evidence))}" for evidence in finding.evidence]
        if todo := str(advice(finding)):
            lines.append(f"- to do: {_escape(todo)}")
    return "\n".join([*lines, "", str(next_step(report)), ""])


def _escape(text: str) -> str:
    """Text as Markdown shows it unchanged, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))
