from __future__ import annotations

from doctor.diagnosis import diagnose
from doctor.fixes.plan import make_plan
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, enable_long_paths, state_check

UNSAFE = state_check("unsafe-one", enable_long_paths(), applicability="unsafe")
MANUAL = state_check("manual-one", enable_long_paths(), applicability="manual")
CHECKS = [LONG_PATHS, TEMP_DIR, UNSAFE, MANUAL]


def planned(plan) -> list[str]:
    return [one.fix.id for one in plan.fixes]


def test_safe_fixes_are_planned_and_the_rest_is_listed_with_its_commands(machine) -> None:
    plan = make_plan(diagnose(machine(), CHECKS).findings)
    assert planned(plan) == ["fix-long-paths", "fix-temp-dir"]
    assert [left.check for left in plan.left] == ["unsafe-one", "manual-one"]
    assert "aios doctor fix unsafe-one" in plan.left[0].reason
    assert plan.left[1].commands == ("type this",)


def test_an_unsafe_fix_is_planned_with_unsafe_or_when_its_check_is_named(machine) -> None:
    findings = diagnose(machine(), [UNSAFE, MANUAL]).findings
    assert planned(make_plan(findings)) == []
    assert planned(make_plan(findings, unsafe=True)) == ["fix-unsafe-one"]
    assert planned(make_plan(findings, named=["unsafe-one", "manual-one"])) == ["fix-unsafe-one"]
    assert planned(make_plan(findings, named=["manual-one"])) == []


def test_an_unsafe_fix_of_mere_information_is_planned_only_by_name(machine) -> None:
    (finding,) = diagnose(machine(), [UNSAFE]).findings
    told = [finding.model_copy(update={"status": "info"})]
    assert make_plan(told, unsafe=True) == make_plan(told) == make_plan([])
    assert planned(make_plan(told, named=["unsafe-one"])) == ["fix-unsafe-one"]


def test_a_healthy_machine_gives_an_empty_plan(machine) -> None:
    host = machine()
    enable_long_paths().apply(host)
    plan = make_plan(diagnose(host, [LONG_PATHS]).findings)
    assert (plan.fixes, plan.left, plan.steps) == ((), (), ())


def test_a_fix_that_two_checks_ask_for_is_planned_once(machine) -> None:
    (finding,) = diagnose(machine(), [LONG_PATHS]).findings
    other = finding.model_copy(update={"check": "another"})
    plan = make_plan([finding, other])
    assert [one.checks for one in plan.fixes] == [("long-paths", "another")]
