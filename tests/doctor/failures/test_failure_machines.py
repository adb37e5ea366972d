"""Machines on which a failure of the table is about to happen: the doctor's findings and its fixes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.failures.table import failures
from doctor.fixes.plan import make_plan
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.models import Finding
from tests.doctor.checks.cases import MACHINES, patched

FOLDER = MACHINES / "failures"
OPEN = ("error", "warning", "unknown")


@dataclass(frozen=True)
class FailureMachine:
    """A machine for a row. `findings`: all open findings and the notes about the row; `plan`: what a fix of everything would do."""

    row: str
    machine: RecordedMachine
    findings: dict[str, dict[str, str]]  # check → status, and a part of the summary
    because_of: dict[str, str]  # a skipped consequence → its cause
    plan: dict[str, list[str]]  # fix → kinds of its actions
    by_hand: list[str]  # checks that only the user can fix

    def __str__(self) -> str:
        return self.row


def load(path: Path) -> FailureMachine:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return FailureMachine(
        row=path.stem.partition("-")[0],
        machine=patched(content["machine"], content["patch"], content.get("renamed")),
        findings=content["findings"],
        because_of=content.get("because_of", {}),
        plan=content.get("plan", {}),
        by_hand=content.get("by_hand", []),
    )


FAILURES = [load(path) for path in sorted(FOLDER.glob("*.json"))]


@cache
def findings_on(row: str) -> dict[str, Finding]:
    (failure,) = (f for f in FAILURES if f.row == row)
    return {finding.check: finding for finding in diagnose(RecordedHost(failure.machine), CHECKS).findings}


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_the_coming_failure_is_found_and_nothing_else(failure: FailureMachine) -> None:
    found = findings_on(failure.row)
    seen = {name: found[name].status for name in failure.findings}
    assert seen == {name: expected["status"] for name, expected in failure.findings.items()}
    for name, expected in failure.findings.items():
        assert expected["says"] in found[name].summary
    spoken = {name: f"{f.status}: {f.summary}" for name, f in found.items() if f.status in OPEN}
    assert set(spoken) == {name for name, e in failure.findings.items() if e["status"] in OPEN}, spoken


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_consequences_name_their_cause(failure: FailureMachine) -> None:
    found = findings_on(failure.row)
    blamed = {name: finding.because_of for name, finding in found.items() if finding.because_of}
    assert blamed == failure.because_of


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_the_fix_of_a_failure_is_planned(failure: FailureMachine) -> None:
    plan = make_plan(tuple(findings_on(failure.row).values()), unsafe=True)
    planned = {one.fix.id: [action.kind for action in one.fix.actions] for one in plan.fixes}
    assert (planned, [left.check for left in plan.left]) == (failure.plan, failure.by_hand)


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_the_finding_comes_from_the_check_in_the_table(failure: FailureMachine) -> None:
    (row,) = (row for row in failures().failures if row.id == failure.row)
    assert row.check in failure.findings.keys() | failure.because_of.keys()


def test_most_failures_that_a_check_can_find_have_a_machine() -> None:
    assert len({failure.row for failure in FAILURES}) >= 60
