"""`aios install`: plan, show, ask, install, verify; and undo."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.utils import canonicalize_name

from doctor.aios_home import changing_alone
from doctor.checks import CHECKS
from doctor.commands.common import confirmed, this_machine
from doctor.commands.options import PythonOption
from doctor.diagnosis import diagnose
from doctor.host import Host
from doctor.install.backup import backup_size
from doctor.install.environment_facts import EnvironmentFacts, read_facts
from doctor.install.install_answer import InstallAnswer, Status
from doctor.install.install_plan import Installation, InstallRequest, plan_installation
from doctor.install.install_record import InstallRun, installations
from doctor.install.interrupted import forget_interrupted, repair_interrupted
from doctor.install.pip import Pip, find_pip, why_not_started
from doctor.install.preconditions import why_unsuitable
from doctor.install.print_plan import MEBIBYTE, ProgressLine, print_plan
from doctor.install.transaction import cause_of, install_packages, refuse_if_in_use
from doctor.install.transaction import undo as put_versions_back
from doctor.lock import HeldError
from doctor.models import to_json
from doctor.report.console import Printer
from doctor.runs.commands_for_python import for_python
from doctor.runs.make_report import ExitStatus
from doctor.wheel_search.candidates import candidates, with_folder
from doctor.wheel_search.install_error import InstallError
from wheels.packages import INSTALLABLE, ON_REQUEST, PACKAGES

STATUS: dict[Status, int] = {
    "planned": ExitStatus.HEALTHY,
    "unchanged": ExitStatus.HEALTHY,
    "nothing fits": ExitStatus.FINDINGS,
    "refused": ExitStatus.FINDINGS,
    "declined": ExitStatus.FINDINGS,
    "installed": ExitStatus.HEALTHY,
    "rolled back": ExitStatus.FIX_FAILED,
    "interrupted": ExitStatus.FIX_FAILED,
    "undone": ExitStatus.HEALTHY,
}


@dataclass(frozen=True)
class Call:
    """The options of this call. With --json, stdout contains only the answer."""

    host: Host
    json: bool
    yes: bool
    dry_run: bool

    @property
    def printer(self) -> Printer:
        return Printer(sys.stderr if self.json else sys.stdout)

    def end(self, answer: InstallAnswer) -> typer.Exit:
        """Print the answer as JSON, or its message; return the exit to raise."""
        identity = self.host.identity
        there = identity.executable if identity.other_python else None
        answer = answer.model_copy(update={"message": for_python(answer.message, there)})
        if self.json:
            sys.stdout.write(to_json(answer))
        elif answer.message:
            self.printer.paragraph((), answer.message)
        return typer.Exit(STATUS[answer.status])

    def answer(self, status: Status, message: str, torch: str | None = None) -> InstallAnswer:
        return InstallAnswer(
            status=status, python=self.host.identity.executable, torch=torch, message=message
        )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def install(
    packages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PACKAGE",
            help=f"{', '.join(PACKAGES)} (default: all of these that this machine can use), {', '.join(ON_REQUEST)}.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan without installing anything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network, only the wheels in --wheel-dir.")
    ] = False,
    wheel_dir: Annotated[
        Path | None,
        typer.Option("--wheel-dir", metavar="DIR", help="A folder with additional wheels."),
    ] = None,
    python: PythonOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Restore the versions from before the newest installation.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Keep the environment as an interrupted installation left it, instead of restoring it.",
        ),
    ] = False,
) -> None:
    """Install the torch, flash-attn, xformers and Triton that fit this machine, and verify that they work."""
    packages = [canonicalize_name(name) for name in packages or ()]
    if unknown := [name for name in packages if name not in INSTALLABLE]:
        raise typer.BadParameter(
            f"unknown package {', '.join(unknown)}; choose from {', '.join(INSTALLABLE)}"
        )
    if wheel_dir is not None and not wheel_dir.is_dir():
        raise typer.BadParameter(f"--wheel-dir: folder not found: {wheel_dir}")
    if forget and (packages or dry_run or offline or wheel_dir or undo):
        raise typer.BadParameter("--forget cannot be combined with packages or other options")
    if undo and (packages or dry_run or offline or wheel_dir):
        raise typer.BadParameter(
            "--undo undoes the newest installation as a whole; it cannot be combined with packages or other options"
        )
    call = Call(this_machine(python), json, yes, dry_run)
    chosen = tuple(name for name in INSTALLABLE if name in (packages or PACKAGES))
    try:
        if dry_run:
            raise call.end(_show(call, *_prepared(call, InstallRequest(chosen, wheel_dir, offline))[1:]))
        with changing_alone(call.host, packages_only=True):
            if forget:
                raise call.end(_forget(call))
            _repair(call)
            if undo:
                raise call.end(_undo(call))
            raise call.end(_install(call, InstallRequest(chosen, wheel_dir, offline)))
    except HeldError as error:
        message = f"Nothing was changed: another run of aios ({error}) is changing this machine. Wait until it has finished."
        raise call.end(call.answer("refused", message)) from error
    except InstallError as error:
        raise call.end(call.answer("refused", f"{error}{cause_of(error.log)}")) from error
    except OSError as error:
        raise call.end(_after_error(call, error)) from error
    except KeyboardInterrupt as error:
        call.printer.sentence("Interrupted. The previous versions are restored; downloads are kept.")
        raise typer.Exit(ExitStatus.INTERRUPTED) from error


def _prepared(call: Call, request: InstallRequest) -> tuple[Pip, EnvironmentFacts, Installation]:
    """Read the facts and plan. Raises InstallError."""
    facts = read_facts(call.host)
    if refusal := why_unsuitable(facts.python):
        raise InstallError(f"Cannot install into {facts.python.identity.executable}. {refusal}")
    if reason := why_not_started(call.host):
        raise InstallError(f"Cannot install into {facts.python.identity.executable}. {reason}")
    pip = find_pip(call.host, request.folder, offline=request.offline)
    catalogue = with_folder(candidates(call.host), request.folder, alone=request.offline)
    return pip, facts, plan_installation(call.host, facts, catalogue, request)


def _show(call: Call, facts: EnvironmentFacts, installation: Installation) -> InstallAnswer:
    """Print the plan and return the answer of a dry run."""
    plan = installation.resolution
    status: Status = "planned" if installation.targets else "unchanged"
    if installation.nothing_fits:
        status = "nothing fits"
    answer = call.answer(status, "", str(plan.torch) if plan.torch else None).model_copy(
        update={"packages": installation.packages, "fallback": plan.fallback}
    )
    print_plan(call.printer, answer, bool(plan.fallback) and _can_build(call.host))
    message = {
        "planned": "Nothing was changed. Run it without --dry-run to install.",
        "unchanged": "There is nothing to install.",
        "nothing fits": "Nothing fits this machine. To see why: aios doctor",
    }
    return answer.model_copy(update={"message": message[status]})


def _install(call: Call, request: InstallRequest) -> InstallAnswer:
    pip, facts, installation = _prepared(call, request)
    answer = _show(call, facts, installation)
    if not installation.targets:
        return answer
    refuse_if_in_use(call.host)  # before the question; checked again before anything is changed
    if not (call.yes or confirmed("Install?", call.printer)):
        return answer.model_copy(update={"status": "declined", "message": "Nothing was changed."})
    printer = Printer(sys.stderr)
    try:
        done = install_packages(
            call.host, facts, installation, request, pip, printer.sentence, ProgressLine()
        )
    except InstallError as error:
        message = f"{error}{cause_of(error.log)}"
        return answer.model_copy(update={"status": "refused", "message": message})
    also = tuple(f"{each.name} {each.version}" for each in done.also)
    answer = answer.model_copy(update={"also": also, "run": done.run.folder.name})
    if done.trouble:
        message = f"{done.trouble} The previous versions are restored."
        return answer.model_copy(update={"status": "rolled back", "message": message})
    return answer.model_copy(update={"status": "installed", "message": _installed_message(done.run)})


def _installed_message(run: InstallRun) -> str:
    kept = backup_size(run)
    room = f" The backup takes {kept / MEBIBYTE:.0f} MiB." if kept else ""
    return f"Installed and verified. To undo: aios undo.{room} Next: aios doctor"


def _repair(call: Call) -> None:
    for repair in repair_interrupted(call.host):
        call.printer.paragraph((), repair.message)


def _forget(call: Call) -> InstallAnswer:
    runs = forget_interrupted(call.host)
    if not runs:
        return call.answer("unchanged", "No installation was interrupted.")
    stores = ", ".join(run.record.store for run in runs)
    return call.answer(
        "unchanged",
        f"The environment is kept as it is. To check it: aios doctor. Copies of the previous versions are in {stores}; the "
        "next installation deletes them.",
    ).model_copy(update={"run": runs[0].folder.name})


def _after_error(call: Call, error: OSError) -> InstallAnswer:
    """The answer after an error of the file system, which depends on whether the environment is complete."""
    cause = f"A file could not be read or written: {error}."
    try:
        whole = all(run.is_consistent for run in installations(call.host))
    except OSError:
        whole = False
    if whole:
        return call.answer("rolled back", f"{cause} The environment is as it was before.")
    return call.answer(
        "interrupted",
        f"{cause} The installation is incomplete. Remove the cause, then run aios install --undo to restore the previous "
        "versions, or aios install --forget to leave the environment as it is.",
    )


def _undo(call: Call) -> InstallAnswer:
    run = put_versions_back(call.host)
    if run is None:
        return call.answer("unchanged", "There is nothing to undo.")
    changes = [
        f"{change.name} {change.before}" if change.before else f"no {change.name}"
        for change in run.record.changes
    ]
    return call.answer("undone", f"Undone. Restored: {', '.join(changes)}.").model_copy(
        update={"run": run.folder.name}
    )


def _can_build(host: Host) -> bool:
    """Do all checks pass that a build from source depends on?"""
    findings = diagnose(host, [check for check in CHECKS if check.group == "build-tools"]).findings
    return all(finding.status in ("ok", "info") for finding in findings)
