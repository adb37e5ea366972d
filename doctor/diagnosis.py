"""Diagnose a machine: run every probe once, in parallel and with a time limit, then let each check judge its facts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctor.check import SYSTEMS, Check, Probe
from doctor.host import Reader
from doctor.host.deadline import set_deadline
from doctor.models import Finding, Status

POLL_SECONDS = 0.1  # on Windows, Ctrl-C cannot interrupt a wait without a timeout
GRACE_SECONDS = 2.0  # after its time limit, for a probe to report which program used it up
# The statuses of a cause that explain a finding, by the finding's own status
EXPLAINED_BY: Mapping[Status, tuple[Status, ...]] = {
    "error": ("error",),
    "warning": ("error", "warning"),
    "unknown": ("error", "unknown"),
}


@dataclass(frozen=True)
class ProbeFailure:
    """Stands for the facts of a probe that crashed or timed out. `reason` is a clause."""

    reason: str


INTERRUPTED = ProbeFailure("interrupted")


@dataclass(frozen=True)
class ProbeResult:
    """A probe has finished or timed out.

    Attributes:
        seconds: since the probes were started.
        failure: why there are no facts, as a clause.
        finished: how many of the `probes` are done, with this one.
        waiting: the names of the others.
    """

    probe: str
    seconds: float
    failure: str | None
    finished: int
    probes: int
    waiting: tuple[str, ...] = ()


Progress = Callable[[ProbeResult], None]


@dataclass(frozen=True)
class Diagnosis:
    """The findings in the order of the checks, and the facts (or a ProbeFailure) by probe name.

    A check that fails because of another check is `skipped` and names it. That cause is reported even if it was not selected.
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
    """Judge `host` by `checks`. Never raises because of a probe or a check.

    Args:
        host: the machine.
        checks: the checks to run; the checks that may explain their failures run too.
        timeout: seconds for each probe, instead of its own limit.
        on_progress: called in this thread for every probe that finishes or times out.
        offline: skip the checks that use the network.

    Ctrl-C ends the diagnosis, not the program: checks whose probes had not finished are `unknown`.
    """
    everything = with_causes(checks)
    skipped = {
        check.id: reason
        for check in everything
        if (reason := _reason_to_skip(check, host.identity.os, offline))
    }
    probes = {
        probe.name: probe for check in everything if check.id not in skipped for probe in check.all_probes
    }
    facts = _collect(host, tuple(probes.values()), timeout, on_progress)
    judged = {
        check.id: Finding(check=check.id, status="skipped", summary=skipped[check.id])
        if check.id in skipped
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
    """Return the checks, each preceded by those whose failure would explain its own."""
    ordered: dict[str, Check] = {}

    def add(check: Check) -> None:
        for cause in (*check.because_of, *check.at_times_because_of):
            add(cause)
        ordered.setdefault(check.id, check)

    for check in checks:
        add(check)
    return tuple(ordered.values())


def _reason_to_skip(check: Check, system: str, offline: bool) -> str | None:
    """Why this check does not run at all; None: it runs."""
    if system not in check.systems:
        only = " and ".join(SYSTEMS[name] for name in sorted(check.systems))
        return f"Does not apply: for {only} only"
    return "Not run: it uses the network" if check.online and offline else None


def _cause(check: Check, judged: Mapping[str, Finding], facts: Mapping[str, Any]) -> str | None:
    """The id of the first check whose failure explains this one's; None if it did not fail, or for a reason of its own."""
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
    """The facts of each probe, or its ProbeFailure, by the probe's name."""
    limits = {probe.name: probe.timeout if timeout is None else timeout for probe in probes}
    results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    started = time.monotonic()
    _start(host, probes, limits, results)
    facts: dict[str, Any] = {}

    def store(name: str, result: Any) -> None:
        if name in facts:  # it finished after it was given up
            return
        facts[name] = result
        if on_progress:
            failure = result.reason if isinstance(result, ProbeFailure) else None
            seconds = round(time.monotonic() - started, 3)
            waiting = tuple(name for name in limits if name not in facts)
            on_progress(ProbeResult(name, seconds, failure, len(facts), len(limits), waiting))

    try:
        while len(facts) < len(limits):
            try:
                store(*results.get(timeout=POLL_SECONDS))
            except queue.Empty:
                elapsed = time.monotonic() - started
                for name, limit in limits.items():
                    if elapsed > limit + GRACE_SECONDS:
                        store(name, _timed_out(name, limit))
    except KeyboardInterrupt:
        for name in limits:
            store(name, INTERRUPTED)
    return facts


def _start(
    host: Reader,
    probes: Sequence[Probe[Any]],
    limits: Mapping[str, float],
    results: queue.SimpleQueue[tuple[str, Any]],
) -> None:
    """Run each probe in a thread of its own, which puts the probe's name and facts into `results`."""

    def collect(probe: Probe[Any]) -> None:
        set_deadline(limits[probe.name])
        try:
            facts = probe.collect(host)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a probe may be a plugin: its crash is a finding
            facts = ProbeFailure(f"the probe '{probe.name}' raised {type(error).__name__}: {error}")
        results.put((probe.name, facts))

    for probe in probes:  # daemon threads: a probe that hangs does not keep the process alive
        threading.Thread(target=collect, args=(probe,), name=probe.name, daemon=True).start()


def _timed_out(probe: str, limit: float) -> ProbeFailure:
    return ProbeFailure(f"the probe '{probe}' did not answer within {limit:g} seconds")


def _judge(check: Check, facts: Mapping[str, Any]) -> Finding:
    collected = [facts[probe.name] for probe in check.all_probes]
    failures = [fact.reason for fact in collected if isinstance(fact, ProbeFailure)]
    if failures:
        return _unknown(check, "; ".join(dict.fromkeys(failures)))
    try:
        finding = _unmet_requirement(check, facts) or check.judge(
            *(facts[probe.name] for probe in check.probes)
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a check may be a plugin: its crash is a finding
        return _unknown(check, f"the check raised {type(error).__name__}: {error}")
    if not isinstance(finding, Finding) or finding.check != check.id:
        return _unknown(check, f"the check returned {finding!r:.80} instead of a finding with its own id")
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
        summary=f"Could not check: {reason}",
        impact=check.why,
        hint=check.by_hand,
    )
