"""Runs the command in this process, and finds the files that it leaves."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

import aios
from tests.doctor.fake_machine import FakeHost


def run(*arguments: str) -> Result:
    return CliRunner().invoke(aios.app, ["doctor", *arguments], prog_name="aios")


def fixes(host: FakeHost) -> list[Path]:
    """The folders of the runs with a plan."""
    return sorted(plan.parent for plan in Path(str(host.variable("AIOS_HOME"))).glob("runs/*/plan.json"))


def state(host: FakeHost) -> Path:
    """Its state folder."""
    return Path(str(host.variable("AIOS_HOME")))


def folders(host: FakeHost) -> list[Path]:
    """The folders of all runs, the oldest first."""
    return sorted(state(host).glob("runs/*"))
