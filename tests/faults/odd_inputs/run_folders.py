"""Files of others where a run would write or read: logs, locks, output folders, checkpoints that lie; and runs that diverge."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.odd_inputs import training
from tests.faults.odd_inputs.models import trained
from tests.faults.odd_inputs.trial import NOT_FILES, Odd, in_place_of

Write = Callable[[Path], object]
# Files that a user may have
THEIRS: dict[str, bytes] = {
    "notes without a last newline": b"first line\nthe last line",
    "a binary file": bytes(range(256)) * 40,
    "JSON lines of another program": b'{"a": 1}\n{"a": 2}\n',
    "JSON lines without a last newline": b'{"event": "click"}\n{"event": "train"}',
    "a YAML file": b"a: 1\n",
    "a file in UTF-16": "notes\n".encode("utf-16"),
    "a line of 2 MB": b"x" * (2 << 20),
    "one NUL": b"\0",
    "records that are damaged": b'{"schema_version": 1, "event": "run_st',
    "one blank": b" ",
}


def files(chance: random.Random) -> Iterator[Odd]:
    """Everything that a run writes, where there is a file of another program."""
    places = (
        "out/metrics.jsonl",
        "out/run.lock",
        "out/run.holder",
        "out/metrics.jsonl.lock",
        "out/metrics.jsonl.holder",
        "log.jsonl",
    )
    for place in places:
        more = ["--log-file", "log.jsonl"] if place == "log.jsonl" else []
        for name, content in THEIRS.items():
            yield _run(f"{place} is {name}", _writes(place, content), more)
        for kind in NOT_FILES:
            yield _run(f"{place} is {kind}", _puts(place, kind), more)
        yield _run(f"{place} is a link to notes", _links(place), more)
    for log in ("text.txt", "run.yaml", ".", "out", "text.txt/x", "/dev/null/x", "a\x1b[2Jb", "x" * 300):
        yield _run(f"--log-file {log[:9]!r}", lambda here: None, ["--log-file", log])
    for out in ("text.txt", "run.yaml", "a\x1b]0;x\x07", "x" * 300, "text.txt/out", "/proc/out", "/dev/null"):
        yield _run(f"--output-dir {out[:9]!r}", lambda here: None, ["--output-dir", out])
    for name in ("checkpoints", "checkpoints/latest", "checkpoints/best", "checkpoints/step-00000001", "checkpoints/step-00000001.partial",
                 "tensorboard", "config.json", "samples.txt"):  # fmt: skip
        for content in chance.sample([*THEIRS.values()], 2):
            yield _run(f"out/{name} is a file", _writes(f"out/{name}", content), [])
        yield _run(f"out/{name} has notes", _writes(f"out/{name}/notes.txt", b"mine"), [])
        yield _run(f"out/{name} has a configuration", _writes(f"out/{name}/config.json", b"{}"), ["--resume"])
    for stop in ("text.txt", "run.yaml", "out", "nowhere/stop", "/dev/zero"):
        yield _run(f"--stop-file {stop}", lambda here: None, ["--stop-file", stop])
    yield Odd("the output folder is the data folder", _data_folder, "either")


def _run(name: str, write: Write, more: list[str]) -> Odd:
    def prepare(here: Path) -> list[str]:
        command = training.write(here, training.settings())
        write(here)
        return [*command, *more]

    return Odd(name, prepare)


def _writes(place: str, content: bytes) -> Write:
    def write(here: Path) -> None:
        (here / place).parent.mkdir(parents=True, exist_ok=True)
        (here / place).write_bytes(content)

    return write


def _puts(place: str, kind: str) -> Write:
    def write(here: Path) -> None:
        (here / place).parent.mkdir(parents=True, exist_ok=True)
        in_place_of(here / place, kind)

    return write


def _links(place: str) -> Write:
    def write(here: Path) -> None:
        (here / "notes.txt").write_bytes(b"mine\n")
        (here / place).parent.mkdir(parents=True, exist_ok=True)
        (here / place).symlink_to(here / "notes.txt")

    return write


def _data_folder(here: Path) -> list[str]:
    command = training.write(here, training.settings())
    (here / "data").mkdir()
    (here / "data" / "a.txt").write_text(training.TEXT, encoding="utf-8")
    (here / "data" / "config.json").write_text('{"mine": 1}', encoding="utf-8")
    return [*command, "--dataset-file", "data", "--output-dir", "data"]


LIES: dict[str, Any] = {
    "scaler": [None, 5, {"scale": "x"}], "config": [None, [], {"training": 5}], "step": [-5, "six", 10**12, None, 2.5], "samples": [-1, 10**12, "x"],
    "processes": [0, -1, "x", 10**9], "data_set": [5, {}, {"tokens": "x"}], "memory": ["x", {"batch_size": 0}], "best": [5, {"step": "x"}],
}  # fmt: skip


def checkpoints(chance: random.Random) -> Iterator[Odd]:
    """Checkpoints whose state lies, though its checksum is right; resumed, exported, sampled."""
    commands = {
        "resume": lambda here: ["train", "--config", "run.yaml", "--resume", "--steps", "3"],
        "export": lambda here: ["export", "--checkpoint", "out", "--output", "exported"],
        "generate": lambda here: ["generate", "--checkpoint", "out", "--prompt", "a", "--max-new-tokens", "2", "--device", "cpu"],
    }  # fmt: skip
    for key, values in LIES.items():
        for value in values:
            yield Odd(f"{key} = {value}", _lying(key, value, commands["resume"]), changes=True)
        yield Odd(f"no {key}", _lying(key, ..., commands["resume"]), changes=True)
    names = [
        "state.json",
        "checksums.json",
        "config.json",
        "model.safetensors",
        "training_state.safetensors",
        "tokenizer_config.json",
    ]
    for name in names:
        for what in ("cut", "empty", "zeros", "gone", "sealed"):
            command = chance.choice([*commands])
            yield Odd(f"{name} {what}, {command}", _cut(name, what, commands[command]), changes=True)
    for target in (
        "text.txt",
        "run.yaml",
        "out",
        "out/checkpoints/step-00000002",
        "/dev/null",
        "a\x1b[2J",
        "mine",
        "x" * 300,
    ):
        yield Odd(f"export to {target[:9]!r}", _export_to(target))
        yield Odd(f"export --gguf to {target[:9]!r}", _export_to(target, "--gguf"))


def _newest(here: Path) -> Path:
    training.write(here, training.settings())
    trained(here / "out")
    return here / "out" / "checkpoints" / "step-00000002"


def _seal(checkpoint: Path, name: str) -> None:
    import hashlib

    sums = json.loads((checkpoint / "checksums.json").read_bytes())
    sums[name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")


def _lying(key: str, value: Any, command: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        newest = _newest(here)
        state = json.loads((newest / "state.json").read_bytes())
        if value is ...:
            state.pop(key, None)
        else:
            state[key] = value
        (newest / "state.json").write_text(json.dumps(state), encoding="utf-8")
        _seal(newest, "state.json")
        return command(here)

    return prepare


def _cut(name: str, what: str, command: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        newest = _newest(here)
        file, content = newest / name, (newest / name).read_bytes()
        if what == "gone":
            file.unlink()
        else:
            file.write_bytes(
                {
                    "cut": content[:-9],
                    "empty": b"",
                    "zeros": bytes(len(content)),
                    "sealed": content[: len(content) // 2],
                }[what]
            )
        if what == "sealed" and name != "checksums.json":
            _seal(newest, name)
        return command(here)

    return prepare


def _export_to(target: str, *more: str) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        _newest(here)
        (here / "mine").mkdir()
        (here / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
        return ["export", "--checkpoint", "out", "--output", target, *more]

    return prepare


def divergences(chance: random.Random) -> Iterator[Odd]:
    """Runs whose loss is no longer a number, with and without evaluations and checkpoints before."""
    for _ in range(24):
        values = {
            "learning_rate": chance.choice([10.0, 100.0, 1e3, 1e6, 1e12, 1e25, 1e300]),
            "steps": chance.choice([3, 12, 30]),
            "eval_every": chance.choice([0, 1, 5]),
            "checkpoint_every": chance.choice([0, 1, 4]),
            "max_grad_norm": chance.choice([1.0, 1e9]),
            "early_stop_patience": chance.choice([0, 1]),
        }
        if not values["eval_every"]:
            values["early_stop_patience"] = 0
        yield Odd(" ".join(f"{key}={value}" for key, value in values.items()), _diverging(values))


def _diverging(values: dict[str, Any]) -> Callable[[Path], list[str]]:
    return lambda here: training.write(here, training.settings(training=values))
