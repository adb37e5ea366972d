"""A fix that must be named works, too: it changes nothing twice, and undo restores every value."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.diagnosis import diagnose
from doctor.fixes.executor import execute, undo
from doctor.fixes.plan import make_plan
from doctor.host.recorded import RecordedHost
from tests.doctor.checks.cases import Case, all_cases

# No recorded machine runs an installer.
UNSAFE = [
    case
    for case in all_cases()
    if case.applicability == "unsafe" and case.actions and "run-installer" not in case.actions
]


@pytest.mark.parametrize("case", UNSAFE, ids=str)
def test_an_unsafe_fix_works_and_is_undone(case: Case, tmp_path: Path) -> None:
    host = RecordedHost(case.machine)
    before = host.machine
    findings = diagnose(host, [case.check]).findings
    assert make_plan(findings).steps == (), "only where it is named"
    plan = make_plan(findings, named=[case.check.id])
    run, again = tmp_path / "run", tmp_path / "again"
    run.mkdir()
    again.mkdir()

    assert all(outcome.succeeded for outcome in execute(plan, host, run))
    assert [f.status for f in diagnose(host, [case.check]).findings] == ["ok"]
    healed = host.machine
    assert {outcome.result for outcome in execute(plan, host, again)} == {"already so"}
    assert host.machine == healed

    assert all(outcome.succeeded for outcome in undo(run, host))
    assert host.machine == before
