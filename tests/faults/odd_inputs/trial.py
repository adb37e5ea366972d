"""One odd input, the command that gets it, and whether it was fine, refused, unclear, or lost something of the user's."""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aios
from tests.doctor.install.fresh_environment import Tree
from tests.faults.preload import Ended, in_child

PATIENCE = 90.0  # seconds until a command counts as hanging
MEMORY = 16 << 30  # bytes of address space
LARGEST = 1 << 30  # bytes of a file that is compared by its content
STATUSES = {0, 1, 2, 3, 4, 5, 130}
# What no output may contain: terminal sequences, other control characters, bidirectional overrides
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SENTENCE = re.compile(r"\w+\W+\w+\W+\w+\W+\w+")

Expected = Literal["works", "refused", "either"]
Verdict = Literal["fine", "refused", "lost", "unclear"]


@dataclass(frozen=True)
class Odd:
    """An odd input.

    Attributes:
        name: what is odd, in words.
        prepare: writes the files of the user into an empty folder, and returns the arguments of `aios`.
        expected: whether the command must end with status 0, must not, or may do both.
        words: one of them must be in the output; nothing: any sentence will do.
        check: what is wrong after the command, which only this kind can tell.
        changes: whether the command is to change files of the user, so that `check` alone tells what is lost.
    """

    name: str
    prepare: Callable[[Path], Sequence[str]]
    expected: Expected = "either"
    words: tuple[str, ...] = ()
    check: Callable[[Path, Ended], str | None] | None = None
    changes: bool = False


@dataclass
class Row:
    """A row of the table, with the number of its inputs by verdict."""

    name: str
    counts: dict[Verdict, int] = field(
        default_factory=lambda: dict.fromkeys(("fine", "refused", "lost", "unclear"), 0)
    )
    problems: list[str] = field(default_factory=list)

    def add(self, odd: Odd, verdict: Verdict, why: str) -> None:
        self.counts[verdict] += 1
        if verdict in ("lost", "unclear"):
            self.problems.append(f"{self.name}: {odd.name}: {verdict}: {why}")


def run(odd: Odd, folder: Path) -> tuple[Verdict, str]:
    """Return the verdict, and why. `folder` is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    here = folder / "the user's \u017b"
    here.mkdir(parents=True)
    os.chdir(here)
    arguments = [*odd.prepare(here)]
    before = files_of(here)
    ended = in_child(lambda: _command(arguments, folder), patience=PATIENCE)
    os.chdir(folder.parent)
    after = files_of(here)
    lost = sorted(name for name, content in before.items() if content != after.get(name))
    if lost and not odd.changes:
        return "lost", f"{lost[0]} is changed (status {ended.status}): {ended.output[-300:]}"
    if why := _unclear(odd, ended) or (odd.check(here, ended) if odd.check else None):
        kind: Verdict = "lost" if why.startswith("lost") else "unclear"
        return kind, f"{why} (status {ended.status}): {ended.output[-600:]!r}"
    return ("refused" if ended.status else "fine"), ""


def _command(arguments: Sequence[str], folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.environ["AIOS_HOME"] = str(folder / "state")
    sys.argv = ["aios", *arguments]
    aios.main()


def _unclear(odd: Odd, ended: Ended) -> str | None:
    """What is wrong with the answer of a command."""
    if ended.status == -14:
        return "it hangs"
    if ended.is_traceback or ended.status not in STATUSES:
        return "it does not end in a sentence"
    if found := CONTROL.search(ended.output):
        return f"a raw control character U+{ord(found[0]):04X} at {ended.output[found.start() - 30 : found.end() + 10]!r}"
    if ended.status and not SENTENCE.search(ended.output):
        return "no word"
    if odd.expected == "refused" and not ended.status:
        return "not refused"
    if odd.expected == "works" and ended.status:
        return "refused"
    if odd.words and not any(word in " ".join(ended.output.split()) for word in odd.words):
        return f"none of {odd.words} is said"
    return None


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return content with a few bytes changed, inserted or removed, or with its end cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, how = chance.randrange(max(1, len(changed))), chance.choice(["change", "insert", "remove", "cut"])
        if how == "change" and changed:
            changed[at] = chance.randrange(256)
        elif how == "insert":
            changed[at:at] = chance.randbytes(chance.randint(1, 9))
        elif how == "remove":
            del changed[at : at + chance.randint(1, 9)]
        elif at:
            del changed[at:]
    return bytes(changed)


def in_place_of(file: Path, kind: str) -> None:
    """Put something that is not a regular file where a file is."""
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    elif kind == "a link to itself":
        file.symlink_to(file)
    elif kind == "a link to nothing":
        file.symlink_to(file.with_name("nowhere"))
    elif kind == "huge":
        with file.open("wb") as sparse:
            sparse.truncate(1 << 40)


NOT_FILES = ("a folder", "a pipe", "a device", "a link to itself", "a link to nothing", "huge")
# Content that is not what any file of aios or its settings has
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(4096),
    "100,000 brackets": b"[" * 100_000,
    "100,000 braces": b'{"a":' * 100_000,
    "null": b"null",
    "a number": b"5",
    "a list": b"[]",
    "an object": b"{}",
    "a text": b'"\\u001b[2J"',
    "NaN": b'{"schema_version": NaN}',
    "another version": b'{"schema_version": 99}',
    "an integer of 9,000 digits": b'{"schema_version": ' + b"9" * 9000 + b"}",
    "UTF-16": '{"schema_version": 1}'.encode("utf-16"),
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "a zip": b"PK\x03\x04" + bytes(60),
    "escapes": b"\x1b]0;owned\x07\x1b[2J\n",
}


def files_of(folder: Path) -> Tree:
    """Every file, link, pipe and folder below a folder, with its content; links are not followed."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file() and path.stat().st_size > LARGEST:
            found[name] = f"{path.stat().st_size} bytes"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "device"
    return found


def sample(inputs: Iterable[Odd], count: int, chance: random.Random) -> list[Odd]:
    """Return some of the inputs, in their order; all of them with count 0."""
    every = [*inputs]
    if not count or count >= len(every):
        return every
    return [every[index] for index in sorted(chance.sample(range(len(every)), count))]
