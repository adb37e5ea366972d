"""A report that may be shown to everybody: what is judged and told is a redacted recording of the machine."""

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
from doctor.runs.doctor_run import Subject, examine

# What an issue is likely to be about; what else is installed is nobody's business.
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
class Shareable:
    """The report, and the versions of the packages that it is likely to be about."""

    report: Report
    versions: dict[str, str]
    interrupted: bool


def shareable(host: Host, checks: Sequence[Check], on_progress: Progress | None = None) -> Shareable:
    """Look at `host`, without the network; tell what the recording of it shows."""
    recorder = Recorder(host)
    looked = diagnose(recorder, checks, on_progress=on_progress, offline=True)
    versions = {name: recorder.distribution(name) for name in PACKAGES}
    subject = Subject(RecordedHost(recorder.machine()), tuple(checks), recorded=True, offline=True)
    told = _redacted(examine(subject).report.model_dump(mode="json"), Redactor.of(host))
    return Shareable(
        Report.model_validate(told),
        {name: reading.value.version for name, reading in versions.items() if isinstance(reading, Found)},
        looked.interrupted,
    )


def _redacted(part: Any, redactor: Redactor) -> Any:
    """Once more, every text: a plugin may look past the host."""
    if isinstance(part, str):
        return redactor.path(part)
    if isinstance(part, list):
        return [_redacted(item, redactor) for item in part]
    if isinstance(part, dict):
        return {name: _redacted(item, redactor) for name, item in part.items()}
    return part
