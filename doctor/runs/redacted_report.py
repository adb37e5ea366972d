"""A report without personal data: the diagnosis of a redacted recording of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from doctor.check import Check
from doctor.diagnosis import Progress, diagnose
from doctor.host import Found, Host
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.host.redaction import Redactor
from doctor.models import Report
from doctor.runs.doctor_run import Target, run_doctor

# Packages that an issue is likely to be about. Other installed packages are private.
PACKAGES = (
    "torch",
    "flash-attn",
    "xformers",
    "triton",
    "triton-windows",
    "torchvision",
    "transformers",
    "numpy",
    "pip",
    "setuptools",
    "ninja",
)


@dataclass(frozen=True)
class RedactedReport:
    """The report, and the versions of the installed PACKAGES by name."""

    report: Report
    versions: dict[str, str]
    interrupted: bool


def redacted_report(
    host: Host, checks: Sequence[Check], on_progress: Progress | None = None
) -> RedactedReport:
    """Record `host` without using the network, and diagnose the redacted recording."""
    recorder = Recorder(host)
    recording = diagnose(recorder, checks, on_progress=on_progress, offline=True)
    versions = {name: recorder.distribution(name) for name in PACKAGES}
    target = Target(RecordedHost(recorder.machine()), tuple(checks), recorded=True, offline=True)
    content = _redacted(run_doctor(target).report.model_dump(mode="json"), Redactor.of(host))
    # The report is made from a recording, to which the redaction applies; it is still about this machine
    content["machine"]["recorded"] = isinstance(host, RecordedHost)
    return RedactedReport(
        Report.model_validate(content),
        {name: reading.value.version for name, reading in versions.items() if isinstance(reading, Found)},
        recording.interrupted,
    )


def _redacted(part: Any, redactor: Redactor) -> Any:
    """Redact every text again: a plugin may read the machine past the recorded host."""
    if isinstance(part, str):
        return redactor.path(part)
    if isinstance(part, list):
        return [_redacted(item, redactor) for item in part]
    if isinstance(part, dict):
        return {name: _redacted(item, redactor) for name, item in part.items()}
    return part
