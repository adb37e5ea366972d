"""Diagnosis: probes run once, side by side and with a time limit; no probe or check can break the run."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doctor.check import Check, Probe, Requirement
from doctor.diagnosis import ProbeResult, diagnose
from doctor.host import Reader
from doctor.host.programs import run_bounded
from doctor.models import Finding
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR


def check(check_id: str, *probes: Probe[Any], judge: Any = None) -> Check:
    says_ok = Finding(check=check_id, status="ok", summary="fine")
    return replace(LONG_PATHS, id=check_id, probes=probes, judge=judge or (lambda *facts: says_ok))


def hang(host: Reader) -> None:
    threading.Event().wait(30)


def crash(host: Reader) -> None:
    raise ZeroDivisionError("nothing to divide by")


def test_each_probe_runs_once_and_findings_keep_the_order_of_the_checks(machine) -> None:
    calls: list[str] = []

    def collect(host: Reader) -> int:
        calls.append("once")
        time.sleep(0.05)
        return 1

    shared = Probe("shared", collect)
    diagnosis = diagnose(machine(), [check("b", shared), check("a", shared), check("c")])
    assert calls == ["once"]
    assert [finding.check for finding in diagnosis.findings] == ["b", "a", "c"]
    assert diagnosis.facts == {"shared": 1}


def test_probes_run_side_by_side(machine) -> None:
    together = threading.Barrier(3)
    probes = [Probe(name, lambda host: together.wait(5) >= 0) for name in "abc"]
    assert {f.status for f in diagnose(machine(), [check("x", *probes)]).findings} == {"ok"}


def test_hanging_probes_time_out_side_by_side(machine) -> None:
    """All of them still hang when the diagnosis returns: none was waited for."""
    hanging: list[str] = []
    released = threading.Event()

    def hang_until_released(host: Reader) -> None:
        name = threading.current_thread().name
        hanging.append(name)
        released.wait()
        hanging.remove(name)

    checks = [check(f"hangs-{n}", Probe(f"p{n}", hang_until_released, timeout=0.3)) for n in range(20)]
    findings = diagnose(machine(), checks).findings
    assert len(hanging) == 20
    released.set()
    assert {finding.status for finding in findings} == {"unknown"}
    assert "the probe 'p7' did not answer within 0.3 seconds" in findings[7].summary


def test_a_timeout_for_all_replaces_the_probes_own(machine) -> None:
    (finding,) = diagnose(machine(), [check("x", Probe("slow", hang, timeout=60))], timeout=0.2).findings
    assert "within 0.2 seconds" in finding.summary


def test_a_crashing_probe_affects_only_the_checks_that_need_it(machine) -> None:
    sound = Probe("sound", lambda host: 1)
    findings = diagnose(machine(), [check("a", Probe("bad", crash), sound), check("b", sound)]).findings
    assert [finding.status for finding in findings] == ["unknown", "ok"]
    assert "'bad' raised ZeroDivisionError: nothing to divide by" in findings[0].summary


def test_a_crashing_check_is_unknown(machine) -> None:
    (finding,) = diagnose(machine(), [check("x", judge=lambda: 1 / 0)]).findings
    assert finding.status == "unknown"
    assert "the check raised ZeroDivisionError" in finding.summary


def requirement(probe: Probe[Any], reason: str | None) -> Requirement:
    """A requirement that is unmet for `reason`; None: it is met."""

    def unmet(check_id: str, fact: object) -> Finding | None:
        return Finding(check=check_id, status="skipped", summary=f"{reason}: {fact}") if reason else None

    return Requirement((probe,), unmet)


def test_the_first_unmet_requirement_is_reported_instead_of_a_judgement(machine) -> None:
    one, two = Probe("one", lambda host: 1), Probe("two", lambda host: 2)
    needs = (requirement(one, None), requirement(two, "no second"), requirement(one, "no third"))
    judged = replace(check("x", judge=lambda: 1 / 0), requires=needs)
    diagnosis = diagnose(machine(), [judged])
    assert diagnosis.findings == (Finding(check="x", status="skipped", summary="no second: 2"),)
    assert diagnosis.facts == {"one": 1, "two": 2}


def test_the_facts_of_requirements_are_not_passed_to_the_judge(machine) -> None:
    own, needed = Probe("own", lambda host: 1), Probe("needed", lambda host: 2)

    def judge(*facts: int) -> Finding:
        return Finding(check="x", status="ok", summary=str(facts))

    judged = replace(check("x", own, judge=judge), requires=(requirement(needed, None),))
    assert diagnose(machine(), [judged]).findings[0].summary == "(1,)"


def test_a_crashing_probe_or_requirement_makes_the_check_unknown(machine) -> None:
    crashing = Requirement((), lambda check_id: 1 / 0)  # type: ignore[arg-type, return-value]
    findings = diagnose(
        machine(),
        [
            replace(check("a"), requires=(requirement(Probe("bad", crash), None),)),
            replace(check("b"), requires=(crashing,)),
        ],
    ).findings
    assert [(f.status, "ZeroDivisionError" in f.summary) for f in findings] == [("unknown", True)] * 2


def test_a_check_for_another_system_is_skipped_and_its_probes_do_not_run(machine) -> None:
    foreign = replace(check("x", Probe("bad", crash)), systems=frozenset({"linux"}))
    diagnosis = diagnose(machine(), [foreign])
    assert diagnosis.findings[0].status == "skipped"
    assert "Linux" in diagnosis.findings[0].summary
    assert diagnosis.facts == {}


def test_progress_counts_to_the_end(machine) -> None:
    seen: list[ProbeResult] = []
    diagnose(machine(), [LONG_PATHS, TEMP_DIR, check("x", Probe("bad", crash))], on_progress=seen.append)
    assert [(result.finished, result.probes) for result in seen] == [(1, 3), (2, 3), (3, 3)]
    failures = {result.probe: result.failure for result in seen}
    assert failures["long-paths"] is failures["temp-dir"] is None
    assert "ZeroDivisionError" in str(failures["bad"])


def test_the_programs_of_a_hanging_probe_are_killed_in_time_to_name_them(machine) -> None:
    """The finding names the program that did not answer; the probe's next program is not started."""
    asked: list[Any] = []

    def ask(host: Reader) -> None:
        for _ in range(2):
            asked.append(run_bounded([sys.executable, "-c", "import time; time.sleep(60)"], 60, {}, None))

    diagnosis = diagnose(machine(), [check("x", Probe("patient", ask, timeout=60))], timeout=1)
    name = Path(sys.executable).name
    first, second = (reading.reason for reading in asked)
    assert first.startswith(f"{name} did not answer within") and second == f"no time left to run {name}"
    assert diagnosis.findings[0].status == "ok", "the probe finished by itself"


def test_an_interrupt_keeps_the_facts_collected_so_far(machine) -> None:
    seen = threading.Event()

    def interrupt_when_seen(result: ProbeResult) -> None:
        if result.failure is None:
            raise KeyboardInterrupt

    checks = [
        check("quick", Probe("quick", lambda host: seen.set())),
        check("slow", Probe("slow", hang, timeout=60)),
    ]
    consequence = replace(check("late", Probe("late", hang, timeout=60)), because_of=(checks[1],))
    diagnosis = diagnose(machine(), [*checks, consequence], on_progress=interrupt_when_seen)
    assert diagnosis.interrupted
    told = {finding.check: (finding.status, finding.summary) for finding in diagnosis.findings}
    assert told == {
        "quick": ("ok", "fine"),
        "slow": ("unknown", "Could not check: interrupted"),
        "late": ("unknown", "Could not check: interrupted"),
    }


def test_offline_skips_the_checks_that_use_the_network(machine) -> None:
    online = replace(check("online", Probe("bad", crash)), online=True)
    diagnosis = diagnose(machine(), [online, check("local")], offline=True)
    assert [finding.status for finding in diagnosis.findings] == ["skipped", "ok"]
    assert diagnosis.findings[0].summary == "Not run: it uses the network"
    assert diagnosis.facts == {}
    assert diagnose(machine(), [online]).findings[0].status == "unknown"


@pytest.mark.parametrize(
    "answer", [None, "all is well", True, Finding(check="other", status="ok", summary="")]
)
def test_a_check_that_returns_something_other_than_its_own_finding_is_unknown(machine, answer) -> None:
    (finding,) = diagnose(machine(), [check("x", judge=lambda: answer)]).findings
    assert (finding.check, finding.status) == ("x", "unknown")
    assert "instead of a finding with its own id" in finding.summary


def test_a_plugin_that_exits_ends_only_its_own_check(machine) -> None:
    findings = diagnose(
        machine(),
        [check("a", Probe("leaves", lambda host: sys.exit(7))), check("b", judge=lambda: sys.exit(7))],
    ).findings
    assert ["SystemExit" in finding.summary for finding in findings] == [True, True]


def failing(check_id: str, status: str, *because_of: Check) -> Check:
    found = Finding.model_validate({"check": check_id, "status": status, "summary": f"{check_id} fails"})
    return replace(check(check_id, judge=lambda: found), because_of=because_of)


@pytest.mark.parametrize(
    ("cause", "consequence", "told"),
    [
        ("error", "error", "skipped"),
        ("error", "warning", "skipped"),
        ("error", "unknown", "skipped"),
        ("unknown", "unknown", "skipped"),
        ("unknown", "error", "error"),
        ("warning", "error", "error"),
        ("skipped", "error", "error"),
        ("error", "ok", "ok"),
        ("error", "info", "info"),
    ],
)
def test_a_failure_explained_by_another_is_skipped(machine, cause, consequence, told) -> None:
    root = failing("root", cause)
    _, finding = diagnose(machine(), [root, failing("leaf", consequence, root)]).findings
    assert finding.status == told
    assert finding.because_of == ("root" if told == "skipped" else None)


def test_a_consequence_selected_alone_shows_its_first_cause(machine) -> None:
    root = failing("root", "error")
    middle = failing("middle", "error", root)
    findings = diagnose(machine(), [failing("leaf", "error", middle)]).findings
    assert [(f.check, f.status, f.because_of) for f in findings] == [
        ("root", "error", None),
        ("leaf", "skipped", "root"),
    ]
