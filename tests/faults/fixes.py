"""Trials of fix and undo: four actions on files, killed or failing at any call; undo then gives back every byte."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

from doctor.fixes.executor import execute, undo
from doctor.fixes.journal import Journal
from doctor.host.live import live_host
from tests.doctor.fixes.killed_fixes import plan, prepare
from tests.doctor.install.fresh_environment import tree_of
from tests.faults.preload import Ended, Fault, in_child

MOST = 400  # calls; a fix has some 60


class Fixes:
    """A folder that is fixed. `kind`: fix, undo, or a fix that is finished by a second one."""

    def __init__(self, folder: Path) -> None:
        os.environ["TMPDIR"] = str(folder)
        self.folder = folder / "fixed Zoë"
        self.fresh()
        self.before = tree_of(self.folder / "work")
        self.calls = {
            "fix": in_child(self.fix, Fault(MOST)).calls,
            "undo": in_child(self.undo, Fault(MOST)).calls,
        }
        assert min(self.calls.values()) > 10, self.calls

    def fresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        prepare(self.folder)

    def fix(self) -> None:
        execute(plan(self.folder), live_host(), self.folder / "run")
        Journal(self.folder / "run" / "actions.jsonl").ended()

    def finish(self) -> None:
        (self.folder / "again").mkdir(exist_ok=True)
        execute(plan(self.folder), live_host(), self.folder / "again")

    def undo(self) -> None:
        for run in ("again", "run"):
            if (self.folder / run).exists():
                outcomes = undo(self.folder / run, live_host())
                sys.stdout.writelines(f"{each.reason}\n" for each in outcomes if not each.succeeded)

    def trial(self, chance: random.Random) -> str | None:
        """Return what was wrong after a random fault."""
        self.fresh()
        kind = chance.choice(["fix", "undo", "fix, then finish", "fix, then undo"])
        faults = []
        if kind == "undo":
            in_child(self.fix)
        else:
            faults.append(Fault.any(chance, self.calls["fix"]))
            ended = in_child(self.fix, faults[0])
            if bad := self._bad(ended):
                return f"{kind}, {faults}: {bad}"
        if kind == "fix, then finish":
            faults.append(Fault.any(chance, self.calls["fix"]))
            if bad := self._bad(in_child(self.finish, faults[1])):
                return f"{kind}, {faults}: {bad}"
        if "undo" in kind:
            faults.append(Fault.any(chance, self.calls["undo"]))
            if bad := self._bad(in_child(self.undo, faults[-1])):
                return f"{kind}, {faults}: {bad}"
        ended = in_child(self.undo)
        if ended.status:
            return f"{kind}, {faults}: the last undo ended with {ended.status}: {ended.output[-300:]}"
        if tree_of(self.folder / "work") != self.before:
            return f"{kind}, {faults}: the tree differs after undo"
        return None

    def _bad(self, ended: Ended) -> str | None:
        """An OSError is the result of a failed call that a command reports; anything else is a defect."""
        if ended.is_traceback and "OSError" not in ended.output and "PermissionError" not in ended.output:
            return ended.output[-400:]
        return "it hangs" if ended.status == -14 else None
