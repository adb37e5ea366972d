"""Diagnose: run every probe once, in parallel and bounded, then let each check judge its facts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctor.check import SYSTEMS, Check, Probe
from doctor.host import Host
from doctor.models import Finding, Status

POLL_SECONDS = 0.1  # a wait without end cannot be interrupted by Ctrl-C on Windows
EXPLAINED_BY: Mapping[Status, tuple[Status, ...]] = {
    "error": ("error",),
    "warning": ("error",),
    "unknown": ("error", "unknown"),
}
Progress = Callable[[int, int], None]  # probes that have answered, probes in all


@dataclass(frozen=True)
class ProbeFailure:
    """In place of a probe's facts: it crashed or did not answer in time. `reason` is a clause."""

    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The findings in the order of the checks, and the facts (or a ProbeFailure) by probe name.

    A check that fails because of another is `skipped`, and names it; a cause that was not asked for is there, too.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]


def diagnose(
    host: Host, checks: Sequence[Check], timeout: float | None = None, on_progress: Progress | None = None
) -> Diagnosis:
    """Judge `host` by `checks`. `timeout` in seconds replaces every probe's own. Never raises for what a probe does."""
    everything = _with_causes(checks)
    applicable = [check for check in everything if host.identity.os in check.systems]
    probes = {probe.name: probe for check in applicable for probe in check.probes}
    facts = _collect(host, tuple(probes.values()), timeout, on_progress)
    judged = {check.id: _judge(check, host.identity.os, facts) for check in everything}
    causes = {check.id: _cause(check, judged) for check in everything}
    reported = {check.id for check in checks} | {causes[check.id] for check in checks}
    return Diagnosis(
        tuple(_explained(judged[name], judged, cause) for name, cause in causes.items() if name in reported),
        facts,
    )


def _with_causes(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, and before each one those whose failure would explain its own."""
    ordered: dict[str, Check] = {}

    def add(check: Check) -> None:
        for cause in check.because_of:
            add(cause)
        ordered.setdefault(check.id, check)

    for check in checks:
        add(check)
    return tuple(ordered.values())


def _cause(check: Check, judged: Mapping[str, Finding]) -> str | None:
    """The id of the first cause whose failure explains this check's, None if it did not fail or stands for itself."""
    explaining = EXPLAINED_BY.get(judged[check.id].status, ())

    def first(of: Check) -> str | None:
        for cause in of.because_of:
            if found := first(cause):
                return found
            if judged[cause.id].status in explaining:
                return cause.id
        return None

    return first(check)


def _explained(finding: Finding, judged: Mapping[str, Finding], cause: str | None) -> Finding:
    if cause is None:
        return finding
    summary = f"Because of {cause}: {judged[cause].summary}"
    return Finding(check=finding.check, status="skipped", summary=summary, measured=finding.summary)


def _collect(
    host: Host, probes: Sequence[Probe[Any]], timeout: float | None, on_progress: Progress | None
) -> dict[str, Any]:
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def collect(probe: Probe[Any]) -> None:
        try:
            facts = probe.collect(host)
        except Exception as error:  # noqa: BLE001 - a probe is a plugin: its crash is a finding
            facts = ProbeFailure(f"the probe '{probe.name}' raised {type(error).__name__}: {error}")
        answers.put((probe.name, facts))

    limits = {probe.name: probe.timeout if timeout is None else timeout for probe in probes}
    started = time.monotonic()
    for probe in probes:  # daemons: one that hangs for ever does not keep the process alive
        threading.Thread(target=collect, args=(probe,), name=probe.name, daemon=True).start()

    facts: dict[str, Any] = {}
    while waiting := [name for name in limits if name not in facts]:
        try:
            name, answer = answers.get(timeout=POLL_SECONDS)
            facts.setdefault(name, answer)
        except queue.Empty:
            elapsed = time.monotonic() - started
            for name in waiting:
                if elapsed > limits[name]:
                    facts[name] = ProbeFailure(
                        f"the probe '{name}' did not answer within {limits[name]:g} seconds"
                    )
        if on_progress:
            on_progress(len(facts), len(limits))
    return facts


def _judge(check: Check, system: str, facts: Mapping[str, Any]) -> Finding:
    if system not in check.systems:
        only = " and ".join(SYSTEMS[name] for name in sorted(check.systems))
        return Finding(check=check.id, status="skipped", summary=f"Does not apply: for {only} only")
    needed = [facts[probe.name] for probe in check.probes]
    failures = [fact.reason for fact in needed if isinstance(fact, ProbeFailure)]
    if failures:
        return _unknown(check, "; ".join(failures))
    try:
        return check.judge(*needed)
    except Exception as error:  # noqa: BLE001 - a check is a plugin: its crash is a finding
        return _unknown(check, f"the check itself raised {type(error).__name__}: {error}")


def _unknown(check: Check, reason: str) -> Finding:
    return Finding(
        check=check.id,
        status="unknown",
        summary=f"Could not look: {reason}",
        impact=check.why,
        hint=check.by_hand,
    )
