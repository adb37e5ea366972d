"""Texts that the console and the Markdown report share."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import SYSTEMS, Check
from doctor.models import Evidence, Finding, Report, Status
from doctor.runs.commands_for_python import for_python

WORST_FIRST: tuple[Status, ...] = ("error", "unknown", "warning", "info", "ok", "skipped")
OPEN: tuple[Status, ...] = ("error", "unknown", "warning")


@dataclass(frozen=True)
class Advice:
    """What to do about a finding: a sentence without its full stop, and the commands, in order."""

    sentence: str = ""
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.sentence, "; then ".join(self.commands))))


def advice(finding: Finding, python: str | None = None) -> Advice:
    """What to do about a finding; empty if there is nothing to do. `python`: another Python that it is about."""
    if finding.status not in OPEN:
        return Advice()
    if finding.is_automatic:
        return Advice(finding.hint.rstrip("."), (for_python(f"aios doctor fix {finding.check}", python),))
    if not (finding.fix and finding.fix.commands):
        return Advice(finding.hint or next(iter(finding.links), ""))
    return by_hand(finding.hint, finding.fix.commands)


def by_hand(hint: str, commands: tuple[str, ...]) -> Advice:
    """A hint and its commands. Commands that the hint contains are taken out of it."""
    if not commands:
        return Advice(hint)
    before, _, behind = hint.partition(commands[0])
    rest = behind.rpartition(commands[-1])[2].strip(" .;")
    return Advice(" ".join(filter(None, (before.rstrip(" :."), rest))), commands)


def waiting_for(report: Report, check: str) -> tuple[str, ...]:
    """The checks that were skipped because `check` fails."""
    return tuple(finding.check for finding in report.findings if finding.because_of == check)


def systems(check: Check) -> str:
    """The systems that a check applies to: "Windows", "Windows, Linux"; empty if it applies to all."""
    names = [name for system, name in SYSTEMS.items() if system in check.systems]
    return "" if len(names) == len(SYSTEMS) else ", ".join(names)


def evidence_line(evidence: Evidence) -> str:
    """The source, the name and the value of a piece of evidence."""
    value = evidence.value
    if isinstance(value, list):
        value = ", ".join(value) or "none"
    shown = "absent" if value is None else str(value)
    return f"{evidence.source} {evidence.name}: {shown}"


def machine_line(report: Report) -> str:
    """The diagnosed machine: system, architecture, Python."""
    machine = report.machine
    system = SYSTEMS[machine.os]
    rights = ", administrator" if machine.elevated else ""
    recorded = " (recorded machine)" if machine.recorded else ""
    where = f" in {machine.environment}" if machine.environment else ""
    return f"{system} {machine.os_build}, {machine.architecture}, Python {machine.python}{where}{rights}{recorded}"


def counts(report: Report) -> str:
    """The number of findings of each status, worst first: `1 error, 2 warnings, 12 ok`."""
    number_of = report.summary.model_dump()
    plural = {"error": "errors", "warning": "warnings"}
    named = [f"{n} {plural[s] if n > 1 and s in plural else s}" for s in WORST_FIRST if (n := number_of[s])]
    return ", ".join(named) or "no checks"


def next_step(report: Report) -> Advice:
    """The last line of a report: what to do next."""
    advised = _next_step(report)
    commands = tuple(for_python(command, report.machine.environment) for command in advised.commands)
    return Advice(advised.sentence, commands)


def _next_step(report: Report) -> Advice:
    if report.pending_restart:
        return Advice("Next: restart this computer to finish, then run", ("aios doctor",))
    next_is = "Next, on that machine" if report.machine.recorded else "Next"
    automatic = [f for f in report.findings if f.status in OPEN and f.is_automatic]
    if any(finding.fix and finding.fix.applicability == "safe" for finding in automatic):
        return Advice(next_is, ("aios doctor fix",))
    if automatic:
        return Advice(next_is, (" ".join(["aios doctor fix", *(finding.check for finding in automatic)]),))
    if any(str(advice(finding)) for finding in report.findings):
        return Advice(f"{next_is}: follow the steps above, then run", ("aios doctor",))
    if any(finding.status in OPEN for finding in report.findings):
        return Advice(f"{next_is}: see the evidence", ("aios doctor -v",))
    if report.machine.environment:
        return Advice("Nothing to fix in this environment")
    return Advice("Nothing to fix. Next", ("aios train --config FILE",))
