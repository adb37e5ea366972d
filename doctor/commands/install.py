"""`aios install`: plan, show, ask, install, verify; and back to the versions before."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import changing_alone
from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host import Host
from doctor.host.live import live_host
from doctor.install.backup import bytes_kept
from doctor.install.environment_facts import Facts, look
from doctor.install.install_answer import InstallAnswer, Status, to_json
from doctor.install.install_plan import Installation, Wishes, prepare
from doctor.install.install_record import Installed
from doctor.install.pip import Pip, find_pip
from doctor.install.preconditions import why_not
from doctor.install.print_plan import MEBIBYTE, ProgressLine, print_plan
from doctor.install.transaction import carry_out, cause_of, repair
from doctor.install.transaction import undo as put_versions_back
from doctor.lock import HeldError
from doctor.report.console import Printer
from doctor.runs.make_report import FINDINGS, FIX_FAILED, HEALTHY, INTERRUPTED
from doctor.wheel_search.candidates import candidates, with_folder
from doctor.wheel_search.install_error import InstallError
from wheels.packages import PACKAGES

STATUS: dict[Status, int] = {
    "planned": HEALTHY,
    "unchanged": HEALTHY,
    "nothing fits": FINDINGS,
    "refused": FINDINGS,
    "declined": FINDINGS,
    "installed": HEALTHY,
    "rolled back": FIX_FAILED,
    "undone": HEALTHY,
}


@dataclass(frozen=True)
class Call:
    """How this call talks: with --json stdout is for the answer alone."""

    host: Host
    json: bool
    yes: bool
    dry_run: bool

    @property
    def printer(self) -> Printer:
        return Printer(sys.stderr if self.json else sys.stdout)

    def end(self, answer: InstallAnswer) -> typer.Exit:
        """Print the answer, or its last words for a person."""
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
            help=f"{', '.join(PACKAGES)}. All that this machine can use if none is named.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network: only what lies in --wheel-dir.")
    ] = False,
    wheel_dir: Annotated[
        Path | None,
        typer.Option("--wheel-dir", metavar="DIR", help="A folder with wheels to choose from, too."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put back the versions before the newest installation.")
    ] = False,
) -> None:
    """Install the torch, flash-attn, xformers and Triton that fit this machine, and see that they work."""
    if unknown := [name for name in packages or () if name not in PACKAGES]:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: it installs {', '.join(PACKAGES)}, and what they need"
        )
    if wheel_dir is not None and not wheel_dir.is_dir():
        raise typer.BadParameter(f"--wheel-dir: there is no folder {wheel_dir}")
    if undo and (packages or dry_run or offline or wheel_dir):
        raise typer.BadParameter(
            "--undo puts back the newest installation as a whole: it takes no packages and no sources"
        )
    call = Call(live_host(), json, yes, dry_run)
    chosen = tuple(name for name in PACKAGES if not packages or name in packages)
    try:
        if dry_run:
            raise call.end(_show(call, *_prepared(call, Wishes(chosen, wheel_dir, offline))[1:]))
        with changing_alone(call.host):
            _repair(call)
            if undo:
                raise call.end(_undo(call))
            raise call.end(_install(call, Wishes(chosen, wheel_dir, offline)))
    except HeldError as error:
        message = f"Nothing was changed: another aios ({error}) is changing this machine; wait for its end."
        raise call.end(call.answer("refused", message)) from error
    except InstallError as error:
        raise call.end(call.answer("refused", f"{error}{cause_of(error.log)}")) from error
    except OSError as error:
        message = f"Something could not be read or written: {error}. The next aios install puts back what is half done."
        raise call.end(call.answer("rolled back", message)) from error
    except KeyboardInterrupt as error:
        call.printer.line("Interrupted. What was replaced was put back; what was downloaded is kept.")
        raise typer.Exit(INTERRUPTED) from error


def _prepared(call: Call, wishes: Wishes) -> tuple[Pip, Facts, Installation]:
    """Look, and decide. Raises InstallError."""
    facts = look(call.host)
    if refusal := why_not(facts.python):
        raise InstallError(f"Nothing is installed into {facts.python.identity.executable}. {refusal}")
    pip = find_pip(call.host, wishes.folder, offline=wishes.offline)
    catalogue = with_folder(candidates(call.host), wishes.folder, alone=wishes.offline)
    return pip, facts, prepare(call.host, facts, catalogue, wishes)


def _show(call: Call, facts: Facts, installation: Installation) -> InstallAnswer:
    """Print the plan; gives the answer of a dry run."""
    plan = installation.plan
    status: Status = "planned" if installation.targets else "unchanged"
    if installation.nothing_fits:
        status = "nothing fits"
    answer = call.answer(status, "", str(plan.torch) if plan.torch else None).model_copy(
        update={"packages": installation.packages, "fallback": plan.fallback}
    )
    print_plan(call.printer, answer, bool(plan.fallback) and _can_build(call.host))
    message = {
        "planned": "This is what it would do. Without --dry-run it asks, and does it.",
        "unchanged": "There is nothing to install.",
        "nothing fits": "Nothing fits this machine. What is in its way: aios doctor",
    }
    return answer.model_copy(update={"message": message[status]})


def _install(call: Call, wishes: Wishes) -> InstallAnswer:
    pip, facts, installation = _prepared(call, wishes)
    answer = _show(call, facts, installation)
    if not installation.targets:
        return answer
    if not (call.yes or _confirmed(call.printer)):
        return answer.model_copy(update={"status": "declined", "message": "Nothing was changed."})
    printer = Printer(sys.stderr)
    try:
        done = carry_out(call.host, facts, installation, wishes, pip, printer.line, ProgressLine())
    except InstallError as error:
        message = f"{error}{cause_of(error.log)}"
        return answer.model_copy(update={"status": "refused", "message": message})
    also = tuple(f"{each.name} {each.version}" for each in done.also)
    answer = answer.model_copy(update={"also": also, "run": done.run.folder.name})
    if done.trouble:
        message = f"{done.trouble} The versions before are back."
        return answer.model_copy(update={"status": "rolled back", "message": message})
    return answer.model_copy(update={"status": "installed", "message": _stands(done.run)})


def _stands(run: Installed) -> str:
    kept = bytes_kept(run)
    room = f" What was replaced is kept for that ({kept / MEBIBYTE:.0f} MiB)." if kept else ""
    return f"Installed, and seen to work. To go back: aios install --undo.{room} Next: aios doctor"


def _repair(call: Call) -> None:
    for run in repair(call.host):
        call.printer.line(
            f"An installation was ended in the middle ({run.folder.name}): the versions before are back."
        )


def _undo(call: Call) -> InstallAnswer:
    run = put_versions_back(call.host)
    if run is None:
        return call.answer("unchanged", "There is nothing to undo.")
    changes = [
        f"{change.name} {change.before}" if change.before else f"no {change.name}"
        for change in run.record.changes
    ]
    return call.answer("undone", f"As before: {', '.join(changes)}.").model_copy(
        update={"run": run.folder.name}
    )


def _can_build(host: Host) -> bool:
    """Is every check green that a build from source depends on?"""
    findings = diagnose(host, [check for check in CHECKS if check.group == "build-tools"]).findings
    return all(finding.status in ("ok", "info") for finding in findings)


def _confirmed(printer: Printer) -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        printer.line("There is no terminal to ask on. --yes answers for scripts.")
        return False
    sys.stderr.write("Install? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
