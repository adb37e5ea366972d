"""A report without what is nobody else's business, whatever its texts came from: a plugin may look past the host."""

from __future__ import annotations

from typing import Any

from doctor.models import Report
from doctor.redaction import Redactor


def redacted_report(report: Report, redactor: Redactor) -> Report:
    """The same report, every text in it redacted."""
    return Report.model_validate(_redacted(report.model_dump(mode="json"), redactor))


def _redacted(part: Any, redactor: Redactor) -> Any:
    if isinstance(part, str):
        return redactor.path(part)
    if isinstance(part, list):
        return [_redacted(item, redactor) for item in part]
    if isinstance(part, dict):
        return {name: _redacted(item, redactor) for name, item in part.items()}
    return part
