"""The elevated child makes its own plan, which must equal the parent's for every fault."""

from __future__ import annotations

import pytest

from doctor.checks import CHECKS, select
from doctor.diagnosis import diagnose
from doctor.fixes.plan import Step, make_plan
from doctor.host.base import Identity
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from tests.doctor.checks.cases import Case, all_cases

ELEVATED = [case for case in all_cases() if case.check.elevated and case.applicability in ("safe", "unsafe")]


def seen_by(elevated: bool, machine: RecordedMachine) -> RecordedHost:
    identity = Identity.model_validate({**machine.identity.model_dump(), "elevated": elevated})
    return RecordedHost(machine.model_copy(update={"identity": identity}))


def elevated_steps(steps: tuple[Step, ...]) -> list[Step]:
    return [step for step in steps if step.action.needs_elevation]


@pytest.mark.parametrize("case", ELEVATED, ids=str)
def test_the_child_plans_the_same_steps(case: Case) -> None:
    parents = make_plan(diagnose(seen_by(False, case.machine), CHECKS).findings, named=[case.check.id])
    steps = elevated_steps(parents.steps)
    fixes = {step.fix for step in steps}
    named = [check for planned in parents.fixes if planned.fix.id in fixes for check in planned.checks]
    assert named, "the fault is seen among all the other checks"
    checks = select(CHECKS, named)
    childs = make_plan(diagnose(seen_by(True, case.machine), checks).findings, named=named)
    assert [step for step in elevated_steps(childs.steps) if step.fix in fixes] == steps
