"""A fix run around the executor: its folder, its records, and the verification by running the checks again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from doctor.diagnosis import diagnose
from doctor.examination import Subject
from doctor.executor import execute, standing
from doctor.host import Host
from doctor.host.files import write_atomically
from doctor.journal import Outcome
from doctor.models import Finding, Report
from doctor.plan import Plan
from doctor.report.build import to_json
from doctor.report.wording import is_automatic
from doctor.state import new_run_folder, runs_folder


@dataclass(frozen=True)
class FixRun:
    """What became of a plan. `findings` are those of the diagnosis, the planned checks' judged again."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    failed: bool
    pending_restart: bool


def carry_out(plan: Plan, findings: Sequence[Finding], subject: Subject, now: datetime) -> FixRun:
    """Apply `plan`, made from `findings`, and verify it by the same checks.

    Raises OSError where no run can be recorded: then nothing was changed.
    """
    host = subject.host
    folder = new_run_folder(host, now)
    shown = {"schema_version": 1, "hash": plan.hash, **plan.model_dump(mode="json")}
    write_atomically(folder / "plan.json", (json.dumps(shown, indent=2) + "\n").encode())
    outcomes = execute(plan, host, folder)

    planned = {check for planned in plan.fixes for check in planned.checks}
    concerned = [check for check in subject.checks if check.id in planned]
    again = diagnose(host, concerned, subject.timeout).findings
    verified = {finding.check: finding for finding in again}
    unverified = {f.check for f in again if f.status == "unknown" or is_automatic(f)}

    failed = any(outcome.result == "failed" for outcome in outcomes)
    pending_restart = False
    for one in plan.fixes:
        mine = [outcome for outcome in outcomes if outcome.step.fix == one.fix.id]
        waits = one.fix.restart in ("session", "system")
        pending_restart |= waits and any(outcome.result == "applied" for outcome in mine)
        failed |= not waits and all(o.stands for o in mine) and not unverified.isdisjoint(one.checks)
    after = tuple(verified.get(finding.check, finding) for finding in findings)
    return FixRun(folder, outcomes, after, failed, pending_restart)


def keep_report(run: FixRun, report: Report) -> None:
    """Put the report beside the plan and the journal. Raises OSError."""
    write_atomically(run.folder / "report.json", to_json(report).encode())


def run_names(host: Host) -> tuple[str, ...]:
    """The names of all runs, newest first. Raises OSError."""
    folder = runs_folder(host)
    runs = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted((run.name for run in runs if run.is_dir()), reverse=True))


def newest_standing_run(host: Host) -> Path | None:
    """The newest run that changed something that is not undone. Raises OSError."""
    folders = (runs_folder(host) / name for name in run_names(host))
    return next((folder for folder in folders if standing(folder, host)), None)
