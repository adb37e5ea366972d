"""Logs to explain and recordings of other machines: bytes, escapes, sizes, slow lines, damage."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.odd_inputs.trial import CONTENTS, NOT_FILES, Odd, damaged, in_place_of

ROOT = Path(__file__).parents[2]
ESCAPES = (
    "\x1b]0;owned\x07", "\x1b[2J\x1b[31m", "\x9b31m", "a\u202eb\u2066c", "\b\b\b", "a\rb", "\x00", "\x7f", "| a | `x` <b>", "$(touch evil)",
    "\u2028", "\ud83d", "`touch evil`", "'; touch evil; '", "%PATH%", "\x1b]8;;https://evil.example\x07x\x1b]8;;\x07", "z" * 70_000,
)  # fmt: skip


def logs(chance: random.Random) -> Iterator[Odd]:
    """Logs, explained without this machine."""
    known = sorted((ROOT / "doctor" / "failures" / "logs" / "failing").rglob("*.*"))
    known = [path for path in known if path.is_file()]
    for number in range(30):
        content = chance.choice(known).read_bytes()[:200_000]
        yield _log(f"a damaged log {number}", damaged(content, chance))
    for number in range(15):
        content = chance.choice(known).read_bytes()[:50_000]
        lines = content.decode("utf-8", "replace").splitlines()
        for _ in range(8):
            at = chance.randrange(len(lines) + 1)
            lines.insert(at, chance.choice(ESCAPES) + (chance.choice(lines) if lines else ""))
        yield _log(f"a log with escapes {number}", "\n".join(lines).encode("utf-8", "surrogatepass"))
    for name, content in {**CONTENTS, **_long_logs()}.items():
        yield _log(name, content)
    for kind in NOT_FILES:
        if kind not in ("a device", "a pipe", "huge"):  # a log may be a pipe; see tests of explain-log
            yield Odd(kind, _in_place("log.txt", kind, ["doctor", "explain-log", "--no-machine"]), "refused")


def _long_logs() -> dict[str, bytes]:
    return {
        "a line of 5 MB": b"error: " + b"x" * (5 << 20),
        "5 MB of spaces": b" " * (5 << 20) + b"\n",
        "a line of libcuda": b"libcuda.so" * 100_000,
        "a line of quotes and brackets": b"\"'()[]{}" * 100_000,
        "a line of paths": b"/usr/lib/x86_64-linux-gnu/libcudart.so.12: " * 20_000,
        "a line of versions": b"torch==2.13.0+cu130 " * 50_000,
        "200,000 carriage returns": b"10%\r20%\r" * 100_000,
        "100,000 tracebacks": b"Traceback (most recent call last):\n" * 100_000,
        "1,000,000 newlines": b"\n" * 1_000_000,
        "invalid UTF-8": bytes(range(128, 256)) * 8000,
        "UTF-16 of a log": ("ImportError: DLL load failed\n" * 900).encode("utf-16"),
    }


def _log(name: str, content: bytes) -> Odd:
    def prepare(here: Path) -> list[str]:
        (here / "log.txt").write_bytes(content)
        return ["doctor", "explain-log", "--no-machine", "log.txt"]

    return Odd(name, prepare)


def _in_place(name: str, kind: str, command: list[str]) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        in_place_of(here / name, kind)
        return [*command, name]

    return prepare


FORMS: tuple[list[str], ...] = ([], ["--markdown"], ["--json"], ["--verbose"], ["--jsonl"], ["--ascii"])


def recordings(chance: random.Random) -> Iterator[Odd]:
    """Recorded machines of others, with escapes in every text, values of wrong types, and damage."""
    machines = sorted((ROOT / "machines").glob("*.json"))
    for number in range(40):
        recorded = json.loads(chance.choice(machines).read_bytes())
        for _ in range(chance.randint(1, 40)):
            _spoil(recorded, chance, lambda text: chance.choice(ESCAPES) + text)
        yield _recording(f"escapes {number}", json.dumps(recorded).encode(), chance.choice(FORMS))
    for number in range(25):
        recorded = json.loads(chance.choice(machines).read_bytes())
        for _ in range(chance.randint(1, 3)):
            _spoil(recorded, chance, lambda text: chance.choice([None, 5, [], {}, True, 1e400, "", -1]))
        yield _recording(f"wrong types {number}", json.dumps(recorded).encode(), chance.choice(FORMS))
    for number in range(15):
        content = chance.choice(machines).read_bytes()
        yield _recording(f"damaged {number}", damaged(content, chance), chance.choice(FORMS))
    for name, content in CONTENTS.items():
        yield _recording(name, content, chance.choice(FORMS), "refused")
    for kind in NOT_FILES:
        yield Odd(kind, _in_place("machine.json", kind, ["doctor", "--machine"]), "refused")


def _spoil(value: Any, chance: random.Random, changed: Callable[[str], Any]) -> None:
    """Change one text somewhere in a value."""
    while isinstance(value, dict | list) and value:
        key = chance.choice([*value]) if isinstance(value, dict) else chance.randrange(len(value))
        if isinstance(value[key], dict | list):
            value = value[key]
        else:
            value[key] = changed(str(value[key])) if isinstance(value[key], str) else value[key]
            return


def _recording(name: str, content: bytes, form: list[str], expected: Any = "either") -> Odd:
    def prepare(here: Path) -> list[str]:
        (here / "machine.json").write_bytes(content)
        return ["doctor", "--machine", "machine.json", *form]

    return Odd(f"{name} {' '.join(form)}", prepare, expected)
