"""Model folders and data files: damaged, hostile, of other programs."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aios
from tests.faults.odd_inputs import training
from tests.faults.odd_inputs.trial import CONTENTS, NOT_FILES, Odd, damaged, in_place_of
from tests.faults.preload import in_child

_runs: list[Path] = []
NAMES = ("config.json", "model.safetensors", "tokenizer_config.json", "generation_config.json")
READERS: dict[str, list[str]] = {
    "generate": [
        "generate",
        "--checkpoint",
        "model",
        "--prompt",
        "a",
        "--max-new-tokens",
        "2",
        "--device",
        "cpu",
    ],
    "export": ["export", "--checkpoint", "model", "--output", "exported"],
    "train": ["train", "--config", "run.yaml", "--name", "model"],
    "plan": ["plan", "--config", "run.yaml", "--name", "model", "--vram", "8"],
}


def trained(folder: Path) -> None:
    """Copy the output folder of a run, which is trained once."""
    if not _runs:
        own = folder.parents[2] / "trained once"
        own.mkdir(parents=True)
        command = training.write(
            own,
            training.settings(
                data={"dataset_file": str(own / "text.txt")}, output={"output_dir": str(own / "out")}
            ),
        )
        ended = in_child(lambda: aios.app(args=[*command[:-1], str(own / "run.yaml")], prog_name="aios"))
        assert ended.status == 0, ended.output
        _runs.append(own / "out")
    shutil.copytree(_runs[0], folder)


def _model(here: Path) -> Path:
    training.write(here, training.settings())
    trained(here / "run")
    model = here / "model"
    shutil.copytree(here / "run" / "checkpoints" / "step-00000002", model)
    for name in ("checksums.json", "state.json", "training_state.safetensors"):
        (model / name).unlink()
    shutil.rmtree(here / "run")
    return model


def folders(chance: random.Random) -> Iterator[Odd]:
    """Model folders with each file damaged, and with values that lie."""
    yield _odd("a good model", lambda model: None, "generate", "works")
    for name in NAMES[:3]:
        for kind in NOT_FILES:
            yield _odd(f"{name} is {kind}", _put(name, kind), chance.choice([*READERS]))
        for what, content in chance.sample([*CONTENTS.items()], 7):
            yield _odd(f"{name}: {what}", _write(name, content), chance.choice([*READERS]))
        for number in range(6):
            yield _odd(f"{name} damaged {number}", _damage(name, chance.random()), chance.choice([*READERS]))
    for key, value in training.ARCHITECTURES:
        yield _odd(
            f"config.json: {key} = {str(value)[:20]}", _configure(key, value), chance.choice([*READERS])
        )
    for what, header in _headers().items():
        yield _odd(f"safetensors: {what}", _write("model.safetensors", header), chance.choice([*READERS]))
    for name in (
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "adapter_config.json",
        "tokenizer.json",
        "modeling_evil.py",
        "chat_template.jinja",
    ):
        for content in (
            b"",
            b"{}",
            b"[" * 9999,
            b"import os; os.system('touch evil')",
            b'{"weight_map": {"a": "../../x.safetensors"}}',
            b"{% for x in range(10**9) %}{% endfor %}",
        ):
            yield _odd(f"{name}: {content[:12]!r}", _write(name, content), chance.choice([*READERS]))


Change = Callable[[Path], object]


def _odd(name: str, change: Change, reader: str, expected: Any = "either") -> Odd:
    def prepare(here: Path) -> list[str]:
        change(_model(here))
        return READERS[reader]

    return Odd(f"{name}, {reader}", prepare, expected)


def _put(name: str, kind: str) -> Change:
    return lambda model: in_place_of(model / name, kind)


def _write(name: str, content: bytes) -> Change:
    return lambda model: (model / name).write_bytes(content)


def _damage(name: str, seed: float) -> Change:
    return lambda model: (model / name).write_bytes(damaged((model / name).read_bytes(), random.Random(seed)))


def _configure(key: str, value: Any) -> Change:
    def change(model: Path) -> None:
        config = json.loads((model / "config.json").read_bytes())
        (model / "config.json").write_text(json.dumps({**config, key: value}), encoding="utf-8")

    return change


def _headers() -> dict[str, bytes]:
    def file(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    return {
        "no tensors": file(b"{}"),
        "other names": file(json.dumps({"x": one}).encode(), data=bytes(4)),
        "a name with an escape": file(json.dumps({"\x1b[2Jx": one}).encode(), data=bytes(4)),
        "a header of 2^63 bytes": file(b"{}", 1 << 63),
        "a header longer than the file": file(b"{}", 9999),
        "a deep header": file(b"[" * 50_000),
        "offsets outside": file(
            json.dumps({"x": {**one, "data_offsets": [0, 1 << 40]}}).encode(), data=bytes(4)
        ),
        "offsets that overlap": file(json.dumps({"x": one, "y": one}).encode(), data=bytes(4)),
        "a negative shape": file(json.dumps({"x": {**one, "shape": [-1]}}).encode(), data=bytes(4)),
        "a shape of 10^18": file(json.dumps({"x": {**one, "shape": [10**9, 10**9]}}).encode(), data=bytes(4)),
        "an unknown type": file(json.dumps({"x": {**one, "dtype": "F77"}}).encode(), data=bytes(4)),
        "not JSON": file(b"\xff\xfe{"),
    }


def data(chance: random.Random) -> Iterator[Odd]:
    """Data sets: formats that are not what they say, sizes, depths, and files that are none."""
    for name, content in {**CONTENTS, **_data()}.items():
        for suffix in chance.sample(
            [".txt", ".jsonl", ".json", ".csv", ".parquet", ".gz", "", ".txt.xz", ".tsv", ".pdf"], 2
        ):
            yield _data_set(f"{name}{suffix}", f"set{suffix}", content, chance)
    for kind in NOT_FILES:
        for suffix in (".txt", ".jsonl"):
            yield Odd(f"{kind} {suffix}", _data_is(kind, f"set{suffix}"), "refused")
    for number in range(20):
        lines = [json.dumps(_record(chance)) for _ in range(30)]
        yield _data_set(
            f"records {number}", "set.jsonl", "\n".join(lines).encode("utf-8", "surrogatepass"), chance
        )


def _record(chance: random.Random) -> Any:
    texts: list[Any] = [
        "a b c",
        "",
        "\x1b[2J",
        "\ud800",
        "x" * 5000,
        "\0",
        "a\u202eb",
        None,
        5,
        [],
        {},
        float("nan"),
        True,
    ]
    role = lambda: chance.choice(["user", "assistant", "system", "tool", "\x1b[1m", "", None, 5])  # noqa: E731
    return chance.choice([
        {"text": chance.choice(texts)},
        {"messages": [{"role": role(), "content": chance.choice(texts)} for _ in range(chance.randint(0, 3))]},
        {"prompt": chance.choice(texts), "completion": chance.choice(texts)},
        {"prompt": chance.choice(texts), "chosen": chance.choice(texts), "rejected": chance.choice(texts)},
        {"conversations": chance.choice([None, [], [{"from": role(), "value": chance.choice(texts)}], {"a": 1}, "x"])},
        chance.choice(texts),
    ])  # fmt: skip


def _data_set(name: str, file: str, content: bytes, chance: random.Random) -> Odd:
    reads = chance.choice([["data", "preview", file], []])

    def prepare(here: Path) -> list[str]:
        command = training.write(here, training.settings())
        (here / file).write_bytes(content)
        return reads or [*command, "--dataset-file", file]

    return Odd(f"{name} {'preview' if reads else 'train'}", prepare)


def _data_is(kind: str, file: str) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        command = training.write(here, training.settings())
        in_place_of(here / file, kind)
        return [*command, "--dataset-file", file]

    return prepare


def _data() -> dict[str, bytes]:
    import io

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.txt", training.TEXT)
    text = training.TEXT.encode()
    return {
        "a zip with a path": archive.getvalue(),
        "a PDF": b"%PDF-1.7\n" + bytes(900),
        "a line of 8 MB": b"word " * (8 << 18),
        "a JSON line of 8 MB": b'{"text": "' + b"x" * (8 << 20) + b'"}',
        "gzip": gzip.compress(text),
        "gzip cut off": gzip.compress(text)[:-20],
        "gzip of zeros": gzip.compress(bytes(64 << 20)),
        "bzip2 in xz": lzma.compress(bz2.compress(text)),
        "Parquet that is none": b"PAR1" + bytes(90) + b"PAR1",
        "CSV with a NUL": b"text,b\n\0,\0\n" * 50,
        "CSV with an open quote": b'text,b\n"' + b"x\n" * 5000,
        "CSV with 9,000 columns": b",".join(b"c%d" % n for n in range(9000)) + b"\n1\n",
        "one letter": b"a",
        "only newlines": b"\n" * 5000,
        "only <|endoftext|>": b"<|endoftext|>\n" * 900,
        "lone surrogates": b'{"text": "\\ud800\\ud800"}\n' * 90,
        "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "an HTML page": b"<!DOCTYPE html><html><body>404</body></html>",
    }
