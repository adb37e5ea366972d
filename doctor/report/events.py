"""The output of `aios doctor --jsonl`: one event a line while the doctor runs; the last one is the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Literal, TextIO

from pydantic import Field, RootModel

from doctor.diagnosis import ProbeResult
from doctor.host import Frozen
from doctor.models import Finding, Report
from doctor.runs.make_report import rfc_3339
from doctor.version import aios_version


class Started(Frozen):
    """The first event: the checks that will run."""

    event: Literal["started"] = "started"
    schema_version: Literal[1] = 1
    aios_version: str
    started_at: str = Field(description="RFC 3339, UTC")
    checks: tuple[str, ...]


class ProbeEnded(Frozen):
    """A probe finished, with facts (`answered`) or with a failure."""

    event: Literal["probe"] = "probe"
    probe: str
    seconds: float = Field(description="since the start")
    answered: bool
    failure: str | None


class Judged(Frozen):
    """What a check found. Findings come in the order of the checks, after all probes have finished."""

    event: Literal["finding"] = "finding"
    finding: Finding


class Ended(Frozen):
    """The last event, however the run ended. After fixes, its findings are those of the repeated checks."""

    event: Literal["report"] = "report"
    report: Report


class Event(RootModel[Started | ProbeEnded | Judged | Ended]):
    """One line."""


class EventWriter:
    """Writes each event at once, in ASCII, which every stream can encode."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._report: Report | None = None
        self._ended = False

    def started(self, checks: Sequence[str]) -> None:
        now = rfc_3339(datetime.now(timezone.utc))
        self._write(Started(aios_version=aios_version(), started_at=now, checks=tuple(checks)))

    def answered(self, result: ProbeResult) -> None:
        self._write(
            ProbeEnded(
                probe=result.probe,
                seconds=result.seconds,
                answered=result.failure is None,
                failure=result.failure,
            )
        )

    def judged(self, report: Report) -> None:
        """Write the findings; the report itself is the last event."""
        self._report = report
        for finding in report.findings:
            self._write(Judged(finding=finding))

    def ended(self, report: Report) -> None:
        self._ended = True
        self._write(Ended(report=report))

    def close(self, without_findings: Callable[[], Report]) -> None:
        """Write the final report if it is missing: that of the diagnosis, or `without_findings`."""
        if not self._ended:
            self.ended(self._report or without_findings())

    def _write(self, event: Started | ProbeEnded | Judged | Ended) -> None:
        self._file.write(json.dumps(event.model_dump(mode="json")) + "\n")
        self._file.flush()
