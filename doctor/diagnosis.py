"""Diagnose: run every probe once, in parallel and bounded, then let each check judge its facts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctor.check import SYSTEMS, Check, Probe
from doctor.host import Reader
from doctor.host.deadline import end_programs_after
from doctor.models import Finding, Status

POLL_SECONDS = 0.1  # a wait without end cannot be interrupted by Ctrl-C on Windows
GRACE_SECONDS = 2.0  # for a probe to say which program took all of its time
EXPLAINED_BY: Mapping[Status, tuple[Status, ...]] = {
    "error": ("error",),
    "warning": ("error", "warning"),
    "unknown": ("error", "unknown"),
}


@dataclass(frozen=True)
class ProbeFailure:
    """In place of a probe's facts: it crashed or did not answer in time. `reason` is a clause."""

    reason: str


INTERRUPTED = ProbeFailure("interrupted")


@dataclass(frozen=True)
class Answer:
    """A probe came to its end after so many seconds: the `answered`-th of `probes`. `failure`: why it gave no facts."""

    probe: str
    seconds: float
    failure: str | None
    answered: int
    probes: int


Progress = Callable[[Answer], None]


@dataclass(frozen=True)
class Diagnosis:
    """The findings in the order of the checks, and the facts (or a ProbeFailure) by probe name.

    A check that fails because of another is `skipped`, and names it; a cause that was not asked for is there, too.
    """

    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]
    interrupted: bool = False


def diagnose(
    host: Reader,
    checks: Sequence[Check],
    timeout: float | None = None,
    on_progress: Progress | None = None,
    offline: bool = False,
) -> Diagnosis:
    """Judge `host` by `checks`. Never raises for what a probe or a check does.

    Args:
        host: the machine.
        checks: what to look at; what explains them is looked at, too.
        timeout: seconds for each probe, in place of its own limit.
        on_progress: told of every probe that answers, in this thread.
        offline: leave out the checks that use the network.

    Ctrl-C ends it, not the program: what had no answer by then is `unknown`.
    """
    everything = with_causes(checks)
    left_out = {
        check.id: reason for check in everything if (reason := _why_not(check, host.identity.os, offline))
    }
    probes = {
        probe.name: probe for check in everything if check.id not in left_out for probe in check.all_probes
    }
    facts = _collect(host, tuple(probes.values()), timeout, on_progress)
    judged = {
        check.id: Finding(check=check.id, status="skipped", summary=left_out[check.id])
        if check.id in left_out
        else _judge(check, facts)
        for check in everything
    }
    causes = {check.id: _cause(check, judged, facts) for check in everything}
    reported = {check.id for check in checks} | {causes[check.id] for check in checks}
    return Diagnosis(
        tuple(_explained(judged[name], judged, cause) for name, cause in causes.items() if name in reported),
        facts,
        interrupted=any(fact is INTERRUPTED for fact in facts.values()),
    )


def with_causes(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, and before each one those whose failure would explain its own."""
    ordered: dict[str, Check] = {}

    def add(check: Check) -> None:
        for cause in (*check.because_of, *check.at_times_because_of):
            add(cause)
        ordered.setdefault(check.id, check)

    for check in checks:
        add(check)
    return tuple(ordered.values())


def _why_not(check: Check, system: str, offline: bool) -> str | None:
    """Why this check is not made at all."""
    if system not in check.systems:
        only = " and ".join(SYSTEMS[name] for name in sorted(check.systems))
        return f"Does not apply: for {only} only"
    return "Not looked at: it would use the network" if check.online and offline else None


def _cause(check: Check, judged: Mapping[str, Finding], facts: Mapping[str, Any]) -> str | None:
    """The id of the first cause whose failure explains this check's, None if it did not fail or stands for itself."""
    if any(facts.get(probe.name) is INTERRUPTED for probe in check.all_probes):
        return None
    explaining = EXPLAINED_BY.get(judged[check.id].status, ())

    def first(of: Check) -> str | None:
        for cause in of.because_of:
            if found := first(cause):
                return found
            if judged[cause.id].status in explaining:
                return cause.id
        return None

    claimed = judged[check.id].because_of
    if claimed is not None and judged[claimed].status in explaining:
        return claimed
    return first(check)


def _explained(finding: Finding, judged: Mapping[str, Finding], cause: str | None) -> Finding:
    if cause is None:
        return finding
    summary = f"Because of {cause}: {judged[cause].summary}"
    return Finding(
        check=finding.check, status="skipped", summary=summary, measured=finding.summary, because_of=cause
    )


def _collect(
    host: Reader, probes: Sequence[Probe[Any]], timeout: float | None, on_progress: Progress | None
) -> dict[str, Any]:
    """The facts, or what is there in their place, by the probe's name."""
    limits = {probe.name: probe.timeout if timeout is None else timeout for probe in probes}
    answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def collect(probe: Probe[Any]) -> None:
        end_programs_after(limits[probe.name])
        try:
            facts = probe.collect(host)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a probe is a plugin: its crash is a finding
            facts = ProbeFailure(f"the probe '{probe.name}' raised {type(error).__name__}: {error}")
        answers.put((probe.name, facts))

    started = time.monotonic()
    for probe in probes:  # daemons: one that hangs for ever does not keep the process alive
        threading.Thread(target=collect, args=(probe,), name=probe.name, daemon=True).start()

    facts: dict[str, Any] = {}

    def keep(name: str, answer: Any) -> None:
        if name in facts:
            return
        facts[name] = answer
        if on_progress:
            failure = answer.reason if isinstance(answer, ProbeFailure) else None
            seconds = round(time.monotonic() - started, 3)
            on_progress(Answer(name, seconds, failure, len(facts), len(limits)))

    try:
        while len(facts) < len(limits):
            try:
                keep(*answers.get(timeout=POLL_SECONDS))
            except queue.Empty:
                elapsed = time.monotonic() - started
                for name, limit in limits.items():
                    if elapsed > limit + GRACE_SECONDS:
                        keep(
                            name, ProbeFailure(f"the probe '{name}' did not answer within {limit:g} seconds")
                        )
    except KeyboardInterrupt:
        for name in limits:
            keep(name, INTERRUPTED)
    return facts


def _judge(check: Check, facts: Mapping[str, Any]) -> Finding:
    collected = [facts[probe.name] for probe in check.all_probes]
    failures = [fact.reason for fact in collected if isinstance(fact, ProbeFailure)]
    if failures:
        return _unknown(check, "; ".join(dict.fromkeys(failures)))
    try:
        finding = _unmet_requirement(check, facts) or check.judge(
            *(facts[probe.name] for probe in check.probes)
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a check is a plugin: its crash is a finding
        return _unknown(check, f"the check itself raised {type(error).__name__}: {error}")
    if not isinstance(finding, Finding) or finding.check != check.id:
        return _unknown(check, f"the check itself gave no finding of its own but {finding!r:.80}")
    return finding


def _unmet_requirement(check: Check, facts: Mapping[str, Any]) -> Finding | None:
    """The finding of the first requirement that is not met."""
    for requirement in check.requires:
        if finding := requirement.unmet(check.id, *(facts[probe.name] for probe in requirement.probes)):
            return finding
    return None


def _unknown(check: Check, reason: str) -> Finding:
    return Finding(
        check=check.id,
        status="unknown",
        summary=f"Could not look: {reason}",
        impact=check.why,
        hint=check.by_hand,
    )
