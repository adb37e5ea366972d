"""Runs `aios doctor` and shows its progress; reads the report that the newest run has saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from doctor.checks import CHECKS
from doctor.host.live import live_host
from doctor.models import Finding, Report
from doctor.report.wording import OPEN, WORST_FIRST
from doctor.runs.history import read_report
from doctor.runs.run_folders import run_folders
from gui.operations import Command, command, event, lines

Progress = Callable[[int], object]  # receives the number of probes that have answered


@dataclass
class Options:
    """The options of a diagnosis."""

    offline: bool = False
    machine: str = ""
    python: str = ""
    only: str = ""

    @property
    def words(self) -> list[str]:
        """Those of `aios doctor`."""
        given = [("--machine", self.machine.strip()), ("--python", self.python.strip())]
        given += [("--only", check) for check in self.only.replace(",", " ").split()]
        return [*["--offline"] * self.offline, *(part for pair in given if pair[1] for part in pair)]

    @property
    def of_python(self) -> list[str]:
        """Those of the commands for one Python."""
        return ["--python", self.python.strip()] if self.python.strip() else []


def diagnose_command(options: Sequence[str] = ()) -> Command:
    return command("doctor", "--jsonl", *options)


async def diagnose(asked: Command, progress: Progress) -> Report | None:
    """The report of `aios doctor --jsonl`; None if it printed none, as for a wrong option."""
    report, answered = None, 0
    async for line in lines(asked):
        found = event(line)
        if found.get("event") == "probe":
            answered += 1
            progress(answered)
        elif found.get("event") == "report":
            with suppress(ValidationError):
                report = Report.model_validate(found["report"])
    return report


def newest_report() -> Report | None:
    """The newest saved report of this machine with the environment of aios, by all checks."""
    known = {check.id for check in CHECKS}
    with suppress(OSError):
        for folder in run_folders(live_host()):
            report = read_report(folder)
            if (
                report
                and not report.machine.environment
                and known <= {each.check for each in report.findings}
            ):
                return report
    return None


def open_findings(report: Report) -> list[Finding]:
    """What there is to do, causes first: findings that explain others, then the worst."""
    causes = {finding.because_of for finding in report.findings}
    still_open = [finding for finding in report.findings if finding.status in OPEN]
    return sorted(still_open, key=lambda each: (WORST_FIRST.index(each.status), each.check not in causes))
