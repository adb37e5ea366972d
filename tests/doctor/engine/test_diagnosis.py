from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from pretended import LONG_PATHS, TEMP_DIR

from doctor.check import Check, Probe
from doctor.diagnosis import diagnose
from doctor.host import Host
from doctor.models import Finding


def check(check_id: str, *probes: Probe[Any], judge: Any = None) -> Check:
    says_ok = Finding(check=check_id, status="ok", summary="fine")
    return replace(LONG_PATHS, id=check_id, probes=probes, judge=judge or (lambda *facts: says_ok))


def hang(host: Host) -> None:
    threading.Event().wait(30)


def crash(host: Host) -> None:
    raise ZeroDivisionError("nothing to divide by")


def test_each_probe_runs_once_and_findings_keep_the_order_of_the_checks(machine) -> None:
    calls: list[str] = []

    def collect(host: Host) -> int:
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


def test_hanging_probes_end_together_at_their_own_timeouts(machine) -> None:
    checks = [check(f"hangs-{n}", Probe(f"p{n}", hang, timeout=0.3)) for n in range(20)]
    started = time.monotonic()
    findings = diagnose(machine(), checks).findings
    assert time.monotonic() - started < 5  # one after the other they take 6
    assert {finding.status for finding in findings} == {"unknown"}
    assert "the probe 'p7' did not answer within 0.3 seconds" in findings[7].summary


def test_a_timeout_for_all_replaces_the_probes_own(machine) -> None:
    started = time.monotonic()
    (finding,) = diagnose(machine(), [check("x", Probe("slow", hang, timeout=60))], timeout=0.2).findings
    assert time.monotonic() - started < 20
    assert "within 0.2 seconds" in finding.summary


def test_a_crashing_probe_costs_only_the_checks_that_need_it(machine) -> None:
    sound = Probe("sound", lambda host: 1)
    findings = diagnose(machine(), [check("a", Probe("bad", crash), sound), check("b", sound)]).findings
    assert [finding.status for finding in findings] == ["unknown", "ok"]
    assert "'bad' raised ZeroDivisionError: nothing to divide by" in findings[0].summary


def test_a_crashing_check_is_a_finding(machine) -> None:
    (finding,) = diagnose(machine(), [check("x", judge=lambda: 1 / 0)]).findings
    assert finding.status == "unknown"
    assert "the check itself raised ZeroDivisionError" in finding.summary


def test_a_check_for_another_system_is_skipped_and_its_probes_do_not_run(machine) -> None:
    foreign = replace(check("x", Probe("bad", crash)), systems=frozenset({"linux"}))
    diagnosis = diagnose(machine(), [foreign])
    assert diagnosis.findings[0].status == "skipped"
    assert "Linux" in diagnosis.findings[0].summary
    assert diagnosis.facts == {}


def test_progress_counts_to_the_end(machine) -> None:
    seen: list[tuple[int, int]] = []
    diagnose(machine(), [LONG_PATHS, TEMP_DIR], on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)
