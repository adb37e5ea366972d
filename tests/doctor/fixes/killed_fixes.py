"""A program that runs one fix for each folder below its argument, and is killed while it writes the journal.

The name of the folder says when: "3 torn" is in the middle of the third record, "3 before" and "3 after" next to it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from doctor.actions import Action, MakeDirectory, MoveFolder, WriteFile
from doctor.fixes.executor import execute
from doctor.fixes.journal import ACTIONS, Journal
from doctor.fixes.plan import Plan, PlannedFix
from doctor.host.live import live_host
from doctor.host.machine import FileContent
from doctor.models import Fix

RECORDS = 9  # an intent and an end for each of the four actions, and the end of the run


def prepare(folder: Path) -> None:
    """Create the files that exist before the fix."""
    (folder / "work" / "old").mkdir(parents=True)
    (folder / "work" / "old" / "f").write_bytes(b"old")
    (folder / "work" / "there.txt").write_bytes(b"before\r\n")
    (folder / "run").mkdir()


def plan(folder: Path) -> Plan:
    """Two fixes of two actions each."""
    work = folder / "work"
    new = FileContent.of(b"\xff\x00 new")
    steps: tuple[tuple[Action, ...], ...] = (
        (
            MakeDirectory(path=str(work / "new" / "deep")),
            WriteFile(path=str(work / "new" / "f.txt"), state=new),
        ),
        (
            MoveFolder(path=str(work / "old"), aside=str(work / "old aside")),
            WriteFile(path=str(work / "there.txt"), state=new),
        ),
    )
    return Plan(
        fixes=tuple(
            PlannedFix(
                checks=(f"check-{n}",),
                fix=Fix(id=f"fix-{n}", applicability="safe", commands=(), actions=actions),
            )
            for n, actions in enumerate(steps)
        )
    )


class KilledJournal(Journal):
    """Kills this process at one of its records."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        number, self.when = path.parents[1].name.split()
        self.records_left = int(number)

    def _append(self, record: dict[str, Any]) -> None:
        self.records_left -= 1
        if self.records_left == 0 and self.when == "before":
            self._die()
        super()._append(record)
        if self.records_left == 0:
            if self.when == "torn":
                os.truncate(self.path, self.path.stat().st_size - 20)
            self._die()

    def _die(self) -> None:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows: TerminateProcess


def run_until_killed(folder: Path) -> None:
    import doctor.fixes.executor

    journal = KilledJournal(folder / "run" / ACTIONS)
    setattr(doctor.fixes.executor, "Journal", lambda path: journal)  # noqa: B010 - the name is not exported
    execute(plan(folder), live_host(), folder / "run")
    journal.ended()


if __name__ == "__main__":
    for each in sorted(Path(sys.argv[1]).iterdir()):
        child = os.fork()
        if child == 0:
            run_until_killed(each)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else "itself"
        sys.stdout.write(f"{each.name}: {ended_by}\n")
