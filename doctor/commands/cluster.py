"""`aios doctor cluster`: compare the machines of a run, under torchrun. A child process imports torch."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from doctor.bounded import parse_json
from doctor.cluster import Cluster, Link, Problem, Process, aligned, judge, table
from doctor.commands.common import this_machine
from doctor.host import Completed, Found, Host
from doctor.report.console import Printer
from doctor.runs.make_report import ExitStatus

TIMEOUT = 300.0  # seconds
TORCHRUN = "torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m aios doctor cluster"


def cluster(
    shared: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Check that all machines see this folder.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare the machines of a run. Start it on each of them with torchrun."""
    host = this_machine()
    if not (host.variable("RANK") and host.variable("WORLD_SIZE")):
        raise typer.BadParameter(f"start it with torchrun, on each machine: {TORCHRUN}")
    found = _ask(host, shared)
    if isinstance(found, str):
        Printer(sys.stderr).line(f"Error: rank {host.variable('RANK')} could not be examined: {found}")
        raise typer.Exit(ExitStatus.UNKNOWN)
    if found is None:  # the first process prints
        raise typer.Exit(ExitStatus.HEALTHY)
    problems = judge(found)
    if json:
        content = {"schema_version": 1, **found.model_dump(), "problems": [p.model_dump() for p in problems]}
        sys.stdout.write(dumps(content, indent=2) + "\n")
    else:
        _print(found, problems)
    causes = any(problem.severity == "cause" for problem in problems)
    raise typer.Exit(ExitStatus.FINDINGS if causes else ExitStatus.HEALTHY)


def _ask(host: Host, shared: Path | None) -> Cluster | str | None:
    """Return the cluster in the first process, None in the others; a string is the reason of a failure."""
    command = [host.identity.executable, "-m", "trainer.distributed.cluster_probe"]
    ran = host.run([*command, *([str(shared)] if shared else [])], TIMEOUT)
    if not isinstance(ran, Found):
        return getattr(ran, "reason", "this Python could not be started")
    completed: Completed = ran.value
    if completed.exit_code:
        return (completed.stderr.strip().splitlines() or [f"exit status {completed.exit_code}"])[-1]
    if not completed.stdout.strip():
        return None
    content = parse_json(completed.stdout)
    links = [{"from_": link.pop("from"), **link} for link in content["links"]]
    return Cluster(
        processes=tuple(Process(**row) for row in content["processes"]),
        links=tuple(Link(**link) for link in links),
    )


def _print(found: Cluster, problems: tuple[Problem, ...]) -> None:
    printer = Printer(sys.stdout)
    for problem in problems:
        word = "Error" if problem.severity == "cause" else "Warning"
        printer.paragraph([f"{word}: "], f"{problem.text}. {problem.advice}.")
    if not problems:
        printer.line(f"{len(found.processes)} processes on {len(found.hosts)} machines fit each other.")
    printer.line()
    for line in aligned(table(found)):
        printer.line(line)
