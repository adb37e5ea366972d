"""The doctor's own files, damaged: journals, plans and reports of fixes, the capability file; and a user's changes before an undo."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from doctor.fixes.executor import execute
from doctor.fixes.journal import ACTIONS, Journal
from doctor.host.live import live_host
from doctor.runs.history import RecordedPlan, save_plan
from tests.doctor.fixes import killed_fixes
from tests.faults.odd_inputs import training
from tests.faults.odd_inputs.trial import CONTENTS, NOT_FILES, Odd, damaged, in_place_of
from tests.faults.preload import Ended
from tests.faults.trainings import write_capability

RUN = "runs/2026-12-01T10-00-00Z__0000abcd"
BEFORE = {"old/f": b"old", "there.txt": b"before\r\n"}
AFTER = {"old aside/f": b"old", "there.txt": b"\xff\x00 new", "new/f.txt": b"\xff\x00 new"}
MINE = b"mine, typed later"
READING = (["history"], ["history", "--json"], ["doctor", "runs"])
UNDOING = (["undo", "--yes"], ["doctor", "undo"], ["doctor", "undo", "--json"])

Change = Callable[[Path], object]


def files(work: Path) -> dict[str, bytes]:
    return {
        path.relative_to(work).as_posix(): path.read_bytes() for path in work.rglob("*") if path.is_file()
    }


def fixed(here: Path) -> Path:
    """Apply a fix of four actions to the user's files; return the folder of its run."""
    killed_fixes.prepare(here)
    (here / "run").rmdir()
    run = here.parent / "state" / RUN
    run.mkdir(parents=True)
    plan = killed_fixes.plan(here)
    save_plan(RecordedPlan(fixes=plan.fixes), run)
    execute(plan, live_host(), run)
    Journal(run / ACTIONS).ended()
    return run


def _after_undo(here: Path, ended: Ended) -> str | None:
    """What is wrong: every file has the content from before or after the fix, and with status 0 all are as before."""
    now = files(here / "work")
    for name, content in now.items():
        if content not in (BEFORE.get(name), AFTER.get(name)):
            return f"lost: {name} has neither content"
    if missing := [
        name for name in BEFORE if name not in now and not (name == "old/f" and "old aside/f" in now)
    ]:
        return f"lost: {missing[0]}"
    return f"status 0, but {sorted(now)} remain" if not ended.status and now != BEFORE else None


def journals(chance: random.Random) -> Iterator[Odd]:
    """A fix whose journal or plan is damaged, then listed or undone."""
    yield _undone("an undamaged journal", ACTIONS, lambda file: None, UNDOING[0])
    for number in range(60):
        seed = chance.random()
        yield _undone(f"journal {number}", ACTIONS, _damage(seed), chance.choice(UNDOING))
    for number in range(15):
        seed = chance.random()
        yield _undone(f"lines of journal {number}", ACTIONS, _lines(seed), chance.choice(UNDOING))
        yield _undone(f"plan {number}", "plan.json", _damage(seed), chance.choice(UNDOING))
    for name in (ACTIONS, "plan.json"):
        yield _undone(f"{name} is lost", name, Path.unlink, chance.choice(UNDOING))
        for kind in NOT_FILES:
            yield _undone(f"{name} is {kind}", name, _not_a_file(kind), chance.choice(UNDOING))
            yield _listed(f"{name} is {kind}, listed", name, _not_a_file(kind), chance.choice(READING))
        for kind, content in CONTENTS.items():
            yield _undone(f"{name}: {kind}", name, _content(content), chance.choice(UNDOING))
            yield _listed(f"{name}: {kind}, listed", name, _content(content), chance.choice(READING))


def _undone(name: str, file: str, change: Change, command: list[str]) -> Odd:
    def prepare(here: Path) -> list[str]:
        change(fixed(here) / file)
        return command

    return Odd(name, prepare, check=_after_undo, changes=True)


def _listed(name: str, file: str, change: Change, command: list[str]) -> Odd:
    def prepare(here: Path) -> list[str]:
        change(fixed(here) / file)
        return command

    return Odd(name, prepare)


def _damage(seed: float) -> Change:
    return lambda file: file.write_bytes(damaged(file.read_bytes(), random.Random(seed)))


def _lines(seed: float) -> Change:
    def change(file: Path) -> None:
        chance, lines = random.Random(seed), file.read_bytes().splitlines(keepends=True)
        at, how = chance.randrange(len(lines)), chance.choice(["removed", "twice", "moved", "reversed"])
        line = lines.pop(at)
        if how == "twice":
            lines[at:at] = [line, line]
        elif how == "moved":
            lines.insert(chance.randrange(len(lines) + 1), line)
        elif how == "reversed":
            lines.insert(at, line)
            lines.reverse()
        file.write_bytes(b"".join(lines))

    return change


def _content(content: bytes) -> Change:
    return lambda file: file.write_bytes(content)


def _not_a_file(kind: str) -> Change:
    return lambda file: in_place_of(file, kind)


def changes_between(chance: random.Random) -> Iterator[Odd]:
    """A fix, then a change of the user, then undo: the change stays, and the status is not 0."""
    names = ["there.txt", "new/f.txt", "old aside/f", "new/mine.txt", "old/mine.txt", "old aside/mine.txt"]
    for number in range(40):
        name, how = (
            chance.choice(names),
            chance.choice(["written", "removed", "a folder", "a link to nothing"]),
        )
        yield _changed_between(f"{number}: {name} {how}", name, how, chance.choice(UNDOING))


def _changed_between(title: str, name: str, how: str, command: list[str]) -> Odd:
    def prepare(here: Path) -> list[str]:
        fixed(here)
        file = here / "work" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if how in NOT_FILES:
            in_place_of(file, how)
        elif how == "removed":
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(MINE)
        return command

    def check(here: Path, ended: Ended) -> str | None:
        file = here / "work" / name
        kept = {
            "written": lambda: file.is_file() and file.read_bytes() == MINE,
            "a folder": file.is_dir,
            "a link to nothing": file.is_symlink,
        }
        moved = here / "work" / "old" / file.name  # in a folder that undo moves back
        if how == "written" and "aside" in name and moved.is_file() and moved.read_bytes() == MINE:
            return None
        if how in kept and not kept[how]() and not (moved.is_dir() or moved.is_symlink()):
            return f"lost: {name}"
        return None

    return Odd(title, prepare, check=check, changes=True)


def capability_files(chance: random.Random) -> Iterator[Odd]:
    """A run that reads a capability file; with --strict-capability, a damaged one is refused."""
    strict: list[list[str]] = [[], ["--strict-capability"]]
    for number in range(20):
        yield _capability(f"damaged {number}", _damage(chance.random()), chance.choice(strict), ours=True)
    for kind in NOT_FILES:
        yield _capability(kind, _not_a_file(kind), chance.choice(strict))
    for name, content in CONTENTS.items():
        ours = b'"schema_version"' in content
        yield _capability(name, _content(content), chance.choice(strict), ours)


def _capability(name: str, change: Change, more: list[str], ours: bool = False) -> Odd:
    """A run with such a file, which is replaced only if it is `ours`: if it still begins like a capability file."""

    def prepare(here: Path) -> list[str]:
        command = training.write(here, training.settings())
        change(write_capability(here / "capability.json"))
        return [*command, "--capability-file", "capability.json", *more]

    return Odd(
        name,
        prepare,
        "refused" if more and not name.startswith("damaged") else "either",
        changes=ours,
    )
