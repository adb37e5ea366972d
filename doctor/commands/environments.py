"""`aios doctor environments`: the Python environments on this machine, their owners and packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.common import this_machine
from doctor.host import Reader
from doctor.models import Status, to_json
from doctor.probes.environments import environments as find_environments
from doctor.probes.nvidia import NVIDIA
from doctor.report.console import COLOURS, Printer
from doctor.runs.commands_for_python import for_python
from doctor.runs.environment_list import EnvironmentList, ListedEnvironment, list_environments

MEBIBYTE, GIBIBYTE = 2**20, 2**30
SIGNS: dict[str, Status] = {"ok": "ok", "warnings": "warning", "broken": "error"}


def environments(
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the Python environments on this machine: registered in Windows, of conda, uv, pyenv, and of applications."""
    host = this_machine()
    listed = list_environments(find_environments(host, str(Path.cwd())), _has_gpu(host))
    if json:
        sys.stdout.write(to_json(listed))
    else:
        _print(Printer(sys.stdout), listed)


def _has_gpu(host: Reader) -> bool:
    return bool(NVIDIA.collect(host).has_gpu)


def _print(printer: Printer, listed: EnvironmentList) -> None:
    if not listed.environments:
        command = "aios doctor --python PATH"
        printer.sentence(
            f"No Python was found in the usual places. To diagnose one elsewhere: {command}", command
        )
        return
    for each in listed.environments:
        sign = SIGNS[each.status]
        printer.line(
            (printer.glyphs.status[sign], COLOURS[sign]), " ", (each.path, "bold"), f"  {each.owner}"
        )
        printer.paragraph(("    ",), _content(each))
        for problem in each.problems:
            printer.paragraph((f"    {printer.glyphs.arrow} ",), problem)
    worst = next((each for each in listed.environments if each.status != "ok"), listed.environments[0])
    printer.line()
    command = for_python("aios doctor", worst.path)
    printer.sentence(f"To diagnose one: {command}", command)


def _content(each: ListedEnvironment) -> str:
    torch = f"torch {each.torch}" if each.torch else "no torch"
    parts = [f"Python {each.python or 'unknown'}", torch, *(f"{n} {v}" for n, v in each.packages.items())]
    return ", ".join([*parts, _size(each.size)])


def _size(size: int) -> str:
    if not size:
        return "no packages"
    return f"{size / GIBIBYTE:.1f} GiB" if size > GIBIBYTE / 10 else f"{size / MEBIBYTE:.0f} MiB"
