"""`aios doctor record`: save what the doctor sees, to diagnose it on another machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.common import known_checks, progress, this_machine
from doctor.commands.options import PythonOption
from doctor.diagnosis import diagnose
from doctor.files import write_atomically
from doctor.host.recorder import Recorder
from doctor.report.console import Printer
from doctor.runs.make_report import ExitStatus


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    python: PythonOption = None,
) -> None:
    """Save what the doctor sees here, without personal data, for `aios doctor --machine FILE`."""
    recorder = Recorder(this_machine(python))
    with progress() as on_progress:
        diagnosis = diagnose(recorder, known_checks(), on_progress=on_progress)
    if diagnosis.interrupted:
        raise typer.Exit(ExitStatus.INTERRUPTED)
    try:
        write_atomically(file, recorder.machine().to_json().encode())
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror or error}") from error
    Printer(sys.stdout).sentence(f"Recorded this machine in {file}")
