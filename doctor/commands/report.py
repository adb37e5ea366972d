"""`aios doctor report`: what is wrong here, as a text that may be shown to everybody."""

from __future__ import annotations

import sys

import typer

from doctor.commands.common import known_checks, progress, this_machine
from doctor.diagnosis import diagnose
from doctor.examination import Subject, examine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.redaction import Redactor
from doctor.report.build import INTERRUPTED
from doctor.report.markdown import to_markdown, versions
from doctor.report.redacted import redacted_report


def report() -> None:
    """Print what is found here as Markdown to paste into an issue, without names, paths of yours or secrets."""
    host = this_machine()
    recorder = Recorder(host)
    with progress() as on_progress:
        diagnosis = diagnose(recorder, known_checks(), on_progress=on_progress, offline=True)
        if diagnosis.interrupted:
            raise typer.Exit(INTERRUPTED)
        # What is judged and told is the redacted recording: no other text can get in.
        recorded = RecordedHost(recorder.machine())
        subject = Subject(recorded, known_checks(), recorded=True, offline=True)
        told = redacted_report(examine(subject).report, Redactor.of(host))
    sys.stdout.write(to_markdown(told, versions(recorded)))
