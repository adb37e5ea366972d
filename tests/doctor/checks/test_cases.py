"""One driver for every case of every check: diagnose and, if there is a fix, plan, apply, verify, repeat and undo it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from doctor.check import Check
from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.fixes.executor import execute, undo
from doctor.fixes.plan import make_plan
from doctor.host import Reader
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.models import Finding
from tests.doctor.checks.cases import MACHINES, Case, all_cases, cases_of, patched

CASES = all_cases()
ON_LINUX = {check.id for check in CHECKS if check.systems == {"linux"}}
FIXABLE = [case for case in CASES if case.applicability == "safe"]


def look(host: Reader, check: Check) -> Finding:
    """The finding of this check; the findings may include its causes."""
    findings = diagnose(host, [check]).findings
    return next(finding for finding in findings if finding.check == check.id)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_case_gives_the_expected_finding(case: Case) -> None:
    finding = look(RecordedHost(case.machine), case.check)
    assert (finding.status, case.summary in finding.summary) == (case.status, True), finding
    assert "\n" not in finding.summary
    assert case.hint in finding.hint
    if finding.status in ("error", "warning"):
        assert finding.measured, "what was found"
        assert finding.expected, "what is required"
        assert finding.impact, "why it matters"
        assert finding.hint, "what to do"
    offered = finding.fix
    assert (offered and offered.applicability) == case.applicability
    assert tuple(action.kind for action in (offered.actions if offered else ())) == case.actions
    elevated = [action for action in (offered.actions if offered else ()) if action.needs_elevation]
    assert set(elevated) <= set(case.check.elevated), "an elevated undo must know what it may touch"


@pytest.mark.parametrize("case", FIXABLE, ids=str)
def test_a_fix_works_is_idempotent_and_can_be_undone_exactly(case: Case, tmp_path: Path) -> None:
    host = RecordedHost(case.machine)
    before = host.machine
    plan = make_plan([look(host, case.check)], named=[case.check.id])
    run = tmp_path / "run"
    run.mkdir()

    outcomes = execute(plan, host, run)
    assert [step.action.kind for step in plan.steps] == list(case.actions)
    assert all(outcome.succeeded for outcome in outcomes), outcomes
    assert look(host, case.check).status == "ok"
    healed = host.machine
    assert healed != before

    again = tmp_path / "again"
    again.mkdir()
    assert {outcome.result for outcome in execute(plan, host, again)} == {"already so"}
    assert make_plan([look(host, case.check)], named=[case.check.id]).steps == ()
    assert host.machine == healed

    assert all(outcome.succeeded for outcome in undo(run, host))
    assert host.machine == before
    assert look(host, case.check).status == case.status


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_has_a_healthy_a_faulty_and_an_unreadable_machine(check: Check) -> None:
    kinds = Counter(case.kind for case in cases_of(check))
    wanted = {"healthy", "fault", "unreadable"}
    if check.group == "backends":
        wanted |= {"crashed", "hung", "garbage"}
    assert wanted <= set(kinds)
    assert set(kinds) <= wanted | {"not-applicable", "note"}
    names = [case.name for case in cases_of(check)]
    assert len(names) == len(set(names))


def test_every_file_of_cases_belongs_to_a_check() -> None:
    assert {path.stem for path in (MACHINES / "cases").glob("*.json")} == {check.id for check in CHECKS}


@pytest.mark.parametrize("name", ["windows-rtx4090", "windows-cpu", "linux-h100", "linux-cpu"])
def test_whole_machines_are_healthy(name: str) -> None:
    findings = diagnose(RecordedHost(patched(name, {})), CHECKS).findings
    assert [finding for finding in findings if finding.status in ("error", "warning", "unknown")] == []
    if name == "windows-rtx4090":
        others = {finding.check for finding in findings if finding.status != "ok"}
        others -= {
            "backend-flash-attn-4",
            "backend-hub-kernels",
            "gpu-memory-fallback",
            "torch-flash-kernels",
            "wsl",
        }
        assert others <= ON_LINUX, "notes that no action can remove, and checks for newer GPUs and for Linux"


def test_a_machine_without_recorded_facts_is_unknown() -> None:
    blank = RecordedMachine(identity=patched("windows-rtx4090", {}).identity)
    diagnosed = diagnose(RecordedHost(blank), CHECKS).findings
    findings = {finding.check: finding.status for finding in diagnosed}
    identity = {"windows-version", "python-version", "python-architecture", "console-encoding"}
    assert {findings.pop(check) for check in identity} == {"ok"}
    assert findings.pop("temp-dir") in ("unknown", "error")
    assert set(findings.values()) <= {"unknown", "skipped"}, "nothing is known, or the cause is unknown"


def test_a_driver_that_does_not_answer_makes_only_its_own_check_unknown() -> None:
    reason = "the driver does not answer NVML: python did not answer within 10 s"
    machine = patched("linux-cpu", {"nvml": {"unreadable": reason}})
    findings = {f.check: f for f in diagnose(RecordedHost(machine), CHECKS).findings}
    judged = ("python-version", "python-architecture", "torch", "backend-sdpa", "backend-manual")
    assert {findings[check].status for check in judged} == {"ok"}
    assert "the driver does not answer" in findings["nvidia-driver"].summary
    assert findings["nvidia-driver"].status == "unknown"
    consequences = [findings[check.id] for check in CHECKS if check.group == "gpu"][1:]
    assert {finding.status for finding in consequences} == {"skipped"}, "one cause, one finding"
