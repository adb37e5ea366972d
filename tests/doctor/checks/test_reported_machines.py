"""Machines rebuilt from public reports whose cause is known: the first finding names it, and healthy ones have none."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost
from doctor.report.wording import OPEN, WORST_FIRST, advice
from tests.doctor.checks.cases import MACHINES, patched

REPORTS: list[dict[str, Any]] = json.loads(
    (MACHINES / "reports" / "machines.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report["source"])
def test_the_first_finding_names_the_cause(report: dict[str, Any]) -> None:
    findings = diagnose(RecordedHost(patched(report["machine"], report["patch"])), CHECKS).findings
    first = min(findings, key=lambda finding: WORST_FIRST.index(finding.status))
    expected = report["first"]
    if expected is None:
        assert first.status not in OPEN, first.summary
        return
    assert (first.check, first.status) == (expected["check"], expected["status"]), first.summary
    assert expected["says"] in first.summary
    assert expected.get("hint", "") in " ".join((first.hint, *advice(first).commands))


def test_each_report_has_a_source() -> None:
    sources = [report["source"] for report in REPORTS]
    assert len(set(sources)) == len(sources) >= 30
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+(?:#\d+| \S+)?", source) for source in sources)
