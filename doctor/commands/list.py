"""`aios doctor list`: the checks, one line each."""

from __future__ import annotations

import sys
from json import dumps
from typing import Annotated

import typer

from doctor.check import GROUPS, Check
from doctor.checks import CHECKS
from doctor.commands.common import plugins
from doctor.report.console import Printer
from doctor.report.wording import systems


def list_checks(
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """List the checks, one line each."""
    sections: dict[str, tuple[Check, ...]] = {
        heading: tuple(check for check in CHECKS if check.group == group) for group, heading in GROUPS.items()
    }
    for plugin in plugins():
        heading = f"Plugin {plugin.distribution}"
        sections[heading] = sections.get(heading, ()) + plugin.checks
    if json:
        listed = [
            {
                "check": check.id,
                "group": check.group,
                "section": heading,
                "looks_at": check.looks_at,
                "systems": sorted(check.systems),
            }
            for heading, checks in sections.items()
            for check in checks
        ]
        sys.stdout.write(dumps({"schema_version": 1, "checks": listed}, indent=2) + "\n")
        return
    printer = Printer(sys.stdout)
    width = max(len(check.id) for checks in sections.values() for check in checks)
    for heading, checks in sections.items():
        if checks:
            printer.line((heading, "bold"))
        for check in checks:
            where = systems(check)
            printer.cut_line((f"  {check.id:<{width}}  ", (where and f"{where}: ", "dim")), check.looks_at)
    printer.line()
    printer.sentence("More about a check: aios doctor explain CHECK", "aios doctor explain CHECK")
