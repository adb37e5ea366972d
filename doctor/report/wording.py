"""Texts that the console and the Markdown report share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from doctor.check import SYSTEMS, Check
from doctor.models import Evidence, Finding, Machine, Report, Status, Summary
from doctor.runs.commands_for_python import for_python

WORST_FIRST: tuple[Status, ...] = ("error", "unknown", "warning", "info", "ok", "skipped")
OPEN: tuple[Status, ...] = ("error", "unknown", "warning")
FIRST_WINDOWS_11 = 22000  # build
TRAINING = "aios train --help"


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
    """A hint and its commands. A hint that ends with its commands is shortened, one that contains them stays whole."""
    if not commands:
        return Advice(hint)
    before, found, behind = hint.partition(commands[0])
    rest = behind.rpartition(commands[-1])[2] if len(commands) > 1 else behind
    if found and rest.strip(" .;"):
        return Advice(hint)
    return Advice(before.rstrip(" :."), commands)


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


def machine_lines(report: Report) -> tuple[str, ...]:
    """The diagnosed machine: a line with system and Python, and one with GPU, driver and torch, if they are known."""
    machine = report.machine
    rights = {"windows": ", administrator"}.get(machine.os, ", root") if machine.elevated else ""
    recorded = " (recorded machine)" if machine.recorded else ""
    where = f" in {machine.environment}" if machine.environment else ""
    first = f"{_system(machine)}, {machine.architecture}, Python {machine.python}{where}{rights}{recorded}"
    second = ", ".join(filter(None, (_gpu(machine), _torch(machine))))
    return (first, second) if second else (first,)


def _system(machine: Machine) -> str:
    """The system by its usual name: "Windows 11 (build 22631)" for 10.0.22631."""
    build = machine.os_build.rpartition(".")[2]
    if machine.os != "windows" or not build.isdecimal():
        return f"{SYSTEMS[machine.os]} {machine.os_build}"
    name = "Windows 11" if int(build) >= FIRST_WINDOWS_11 else "Windows 10"
    return f"{name} (build {build})"


def _gpu(machine: Machine) -> str:
    """The GPUs and the driver; empty if unknown."""
    if machine.gpus is None:
        return ""
    cuda = f" (CUDA {machine.driver_cuda})" if machine.driver_cuda else ""
    driver = f", driver {machine.driver}{cuda}" if machine.driver else ""
    counted = Counter(machine.gpus)
    names = [f"{number} x {name}" if number > 1 else name for name, number in counted.items()]
    return f"{', '.join(names) or 'no NVIDIA GPU'}{driver}"


def _torch(machine: Machine) -> str:
    if machine.torch is None:
        return ""
    return f"torch {machine.torch}" if machine.torch else "torch not installed"


def counts(report: Report) -> str:
    """The number of findings of each status, worst first: `1 error, 2 warnings, 12 ok`."""
    return counted(report.summary)


def counted(summary: Summary) -> str:
    """The same for the numbers of a report."""
    number_of = summary.model_dump()
    plural = {"error": "errors", "warning": "warnings"}
    named = [f"{n} {plural[s] if n > 1 and s in plural else s}" for s in WORST_FIRST if (n := number_of[s])]
    return ", ".join(named) or "no checks"


def next_step(report: Report, training: tuple[str, ...] = (TRAINING,)) -> Advice:
    """The last line of a report: what to do next. `training`: the commands that start it on a healthy machine."""
    advised = _next_step(report, training)
    commands = tuple(for_python(command, report.machine.environment) for command in advised.commands)
    return Advice(advised.sentence, commands)


def _next_step(report: Report, training: tuple[str, ...]) -> Advice:
    if report.pending_restart:
        return Advice("Next: restart this computer to finish, then run", ("aios doctor",))
    next_is = "Next, on that machine" if report.machine.recorded else "Next"
    still_open = [finding for finding in _by_severity(report) if finding.status in OPEN]
    automatic = [finding for finding in still_open if finding.is_automatic]
    if any(finding.fix and finding.fix.applicability == "safe" for finding in automatic):
        return Advice(next_is, ("aios doctor fix",))
    if automatic:
        return Advice(next_is, (" ".join(["aios doctor fix", *(finding.check for finding in automatic)]),))
    if report.machine.torch == "" and not report.machine.environment:
        return Advice(next_is, ("aios install",))
    if report.summary.error or report.summary.unknown:
        return _steps_by_hand(next_is, still_open)
    if not _has_every_check(report):
        return _after_some_checks(still_open)
    if report.machine.environment:
        return Advice(
            "Nothing to fix in this environment" if not still_open else "No errors in this environment"
        )
    return Advice(f"{'No errors' if still_open else 'Nothing to fix'}. {next_is}", training)


def _has_every_check(report: Report) -> bool:
    from doctor.checks import CHECKS  # only here: a log is explained without the checks

    return {check.id for check in CHECKS} <= {finding.check for finding in report.findings}


def _steps_by_hand(next_is: str, still_open: Sequence[Finding]) -> Advice:
    """The first command that is known, or where to find what to do."""
    for finding in still_open:
        commands = finding.fix.commands if finding.fix else ()
        if len(commands) == 1 and commands[0].startswith("aios "):
            return Advice(next_is, (commands[0], "aios doctor"))
    if any(str(advice(finding)) for finding in still_open):
        return Advice(f"{next_is}: follow the steps above, then run", ("aios doctor",))
    return Advice(f"{next_is}: see the evidence", ("aios doctor -v",))


def _after_some_checks(still_open: Sequence[Finding]) -> Advice:
    """The last line of a run of some checks: it says nothing about the others."""
    found = "no errors" if still_open else "nothing to fix"
    return Advice(f"These checks found {found}; the others were not run. To run all", ("aios doctor",))


def _by_severity(report: Report) -> list[Finding]:
    return sorted(report.findings, key=lambda finding: WORST_FIRST.index(finding.status))
