"""Configurations and settings of a training run that are damaged, hostile or senseless."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.faults.odd_inputs.trial import Odd
from trainer.config.sections import each_key

TEXT = "".join(f"{number} bottles of beer on the wall.\n" for number in range(90))
SIZES: Mapping[str, Any] = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16}
SECTIONS = ("model", "data", "training", "output")


def settings(**changes: Any) -> dict[str, dict[str, Any]]:
    """A run of two steps of a tiny model, which takes less than a second."""
    whole: dict[str, dict[str, Any]] = {
        "model": {"architecture": dict(SIZES), "tokenizer": "byte"},
        "data": {"dataset_file": "text.txt", "max_length": 16},
        "training": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "device": "cpu", "checkpoint_every": 1},
        "output": {"output_dir": "out"},
    }  # fmt: skip
    for section, values in changes.items():
        whole[section] |= values
    return whole


def write(here: Path, content: bytes | str | Mapping[str, Any]) -> list[str]:
    """Write a configuration and its text; return the command that reads them."""
    (here / "text.txt").write_text(TEXT, encoding="utf-8")
    if isinstance(content, Mapping):
        content = yaml.safe_dump({**content}, allow_unicode=True)
    file = here / "run.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return ["train", "--config", "run.yaml"]


def _file(name: str, content: bytes | str | Mapping[str, Any], expected: Any = "refused") -> Odd:
    return Odd(name, lambda here: write(here, content), expected)


GOOD = yaml.safe_dump(settings())
WRONG_TYPES: dict[str, Any] = {
    "a list": [1, 2],
    "a mapping": {"a": 1},
    "a nested list": [[[]]],
    "a date": "2026-13-45",
    "a text": "many words",
    "true": True,
    "nothing": None,
    "an empty text": "",
    "an escape": "\x1b]0;title\x07",
    "a NUL": "a\0b",
    "an override": "a\u202eb",
    "nan": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**30,
    "minus one": -1,
    "a fraction": 1.5,
    "a lone letter": "Ż",
}


def configurations(chance: random.Random) -> Iterator[Odd]:
    """Odd files, and each key with odd values."""
    yield _file("the good one", GOOD, "works")
    for name, content in _structures():
        yield _file(name, content)
    for n in range(20):
        damaged = bytearray(GOOD.encode())
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        yield _file(f"random bytes {n}", bytes(damaged), "either")
    keys = [(section, key) for section, key, _ in each_key()]
    for section, key in keys:
        name = chance.choice([*WRONG_TYPES])
        yield _value(section, key, name, WRONG_TYPES[name])
    for _ in range(60):
        section, key = chance.choice(keys)
        name = chance.choice([*WRONG_TYPES])
        yield _value(section, key, name, WRONG_TYPES[name])
    for name, values in SENSELESS.items():
        yield _file(name, settings(training=values), "either")
    for key, value in ARCHITECTURES:
        changed = settings(model={"architecture": {**SIZES, key: value}})
        yield _file(f"architecture: {key} = {str(value)[:20]}", changed, "either")


def _value(section: str, key: str, name: str, value: Any) -> Odd:
    """A key with a value. Of another kind than any that the keys have, it must be refused."""
    must = name in ("a nested list", "a NUL", "an escape") and key not in FREE_TEXT
    return _file(
        f"{section}.{key} is {name}", settings(**{section: {key: value}}), "refused" if must else "either"
    )


FREE_TEXT = ("sample_prompt", "architecture", "dataset_file")
SENSELESS: dict[str, dict[str, Any]] = {
    "a batch of 10^12": {"batch_size": 10**12},
    "a learning rate of 10^4": {"learning_rate": 1e4, "steps": 30, "eval_every": 5},
    "a learning rate of 10^30": {"learning_rate": 1e30, "steps": 10, "eval_every": 2},
    "a learning rate of 10^308": {"learning_rate": 1e308},
    "10^18 warm-up steps": {"warmup_steps": 10**18},
    "a seed of 100 digits": {"seed": 10**100},
    "steps: true": {"steps": True},
    "a device that does not exist": {"device": "cuda:77"},
    "a device with an escape": {"device": "cpu\x1b[2J"},
    "gradients clipped to 10^-300": {"max_grad_norm": 1e-300},
    "betas above one": {"adam_beta1": 2.0},
    "10^9 checkpoints kept": {"keep_checkpoints": 10**9},
    "no checkpoint kept": {"keep_checkpoints": 0},
    "a weight decay of 10^30": {"weight_decay": 1e30, "steps": 8, "eval_every": 2},
}
ARCHITECTURES: list[tuple[str, Any]] = [
    ("n_head", 0), ("n_head", 3), ("n_head", -1), ("n_layer", 10**6), ("n_layer", 0), ("n_layer", 10**12), ("n_layer", "x"),
    ("n_embd", 0), ("n_embd", 10**9), ("n_embd", 1.5), ("n_positions", 1), ("n_positions", 10**12),
    ("activation_function", "no such"), ("activation_function", 5), ("initializer_range", float("nan")), ("initializer_range", -1),
    ("layer_norm_epsilon", float("inf")), ("layer_norm_epsilon", "small"), ("resid_pdrop", 2.0), ("vocab_size", 1), ("vocab_size", 10**12),
    ("model_type", "gpt2\x1b[1m"), ("model_type", "../../x"), ("model_type", 5), ("model_type", "no such"), ("model_type", "t5"),
    ("auto_map", {"AutoConfig": "evil.Evil"}), ("dtype", "float77"), ("torch_dtype", []), ("quantization_config", {"a": 1}),
    ("attn_implementation", "../evil"), ("n_inner", -5), ("n_inner", 0), ("pad_token_id", 10**9), ("tie_word_embeddings", "maybe"),
]  # fmt: skip


def _structures() -> Iterator[tuple[str, bytes | str]]:
    laughs = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 'lol'}]\n" for n in range(9))
    whole: dict[str, bytes | str] = {
        "an alias bomb": laughs + GOOD,
        "an alias bomb as a value": laughs + GOOD.replace("steps: 2", "steps: *x8"),
        "an alias of itself": "a: &a [*a]\n" + GOOD,
        "an alias of itself as a mapping": GOOD + "x: &x\n  y: *x\n",
        "merge keys of merge keys": GOOD + "".join(f"m{n}: &m{n}\n  <<: *m{n - 1}\n" if n else "m0: &m0 {}\n" for n in range(99)),
        "an alias that does not exist": GOOD.replace("steps: 2", "steps: *none"),
        "a section twice": GOOD + "training:\n  steps: 3\n",
        "a key twice": GOOD.replace("  steps: 2", "  steps: 2\n  steps: 3"),
        "a key twice, once quoted": GOOD.replace("  steps: 2", "  steps: 2\n  'steps': 3"),
        "a key and its other name": GOOD.replace("  learning_rate:", "  lr: 1.0\n  learning_rate:"),
        "20,000 brackets": "x: " + "[" * 20_000,
        "20,000 braces": "x: " + "{a: " * 20_000,
        "20,000 dashes": "- " * 20_000,
        "20,000 questions": "? " * 20_000,
        "an integer of 5,000 digits": GOOD.replace("steps: 2", f"steps: {'9' * 5000}"),
        "a hexadecimal integer of 5,000 digits": GOOD.replace("steps: 2", f"steps: 0x{'f' * 5000}"),
        "a base-60 integer": GOOD.replace("steps: 2", f"steps: {':'.join(['59'] * 3000)}"),
        "an exponent of 10^9": GOOD.replace("0.001", "1e999999999"),
        "a date that does not exist": GOOD.replace("steps: 2", "steps: 2020-13-45"),
        "a NUL": GOOD.replace("text.txt", "te\0xt.txt"),
        "an escaped NUL": GOOD.replace("text.txt", '"te\\0xt.txt"'),
        "a lone surrogate": GOOD.replace("text.txt", '"te\\ud800xt.txt"'),
        "an escape in a path": GOOD.replace("text.txt", '"\\e]0;x\\atext.txt"'),
        "an override in a key": GOOD.replace("steps", "st\u202eeps"),
        "an escape in a key": GOOD.replace("  steps: 2", '  "\\e[2Jsteps": 2'),
        "a Python tag": GOOD + "x: !!python/object/apply:os.system ['touch evil']\n",
        "a Python tag as a value": GOOD.replace("steps: 2", "steps: !!python/name:os.system"),
        "a binary tag": GOOD.replace("steps: 2", "steps: !!binary aGVsbG8="),
        "a set": GOOD.replace("steps: 2", "steps: !!set {a, b}"),
        "a tag of its own": GOOD.replace("steps: 2", "steps: !evil 2"),
        "two documents": GOOD + "---\n" + GOOD,
        "a directive": "%YAML 9.9\n---\n" + GOOD,
        "a directive of tags": "%TAG ! tag:evil,2026:\n---\n" + GOOD.replace("steps: 2", "steps: !x 2"),
        "nothing": "", "a comment": "# nothing\n", "null": "null\n", "a number": "5\n", "a text": "words\n", "a list": "[1, 2]\n",
        "5 MB of comment": GOOD + "#" * (5 << 20),
        "a line of 5 MB": GOOD + "x: " + "y" * (5 << 20),
        "bytes that are not UTF-8": GOOD.encode() + b"# \xff\xfe\n",
        "UTF-16 cut off": GOOD.encode("utf-16")[:-1],
        "a zip": b"PK\x03\x04" + bytes(99), "a PDF": b"%PDF-1.7\n", "a pickle": b"\x80\x04\x95\x00", "zeros": bytes(4096),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(40),
        "a mapping as a key": GOOD + "? {a: b}\n: c\n",
        "a key that is a list": GOOD + "? [a]\n: c\n",
        "an unknown section with an escape": GOOD + '"\\e[31mx": {}\n',
        "JSON with duplicate keys": '{"training": {}, "training": {"steps": 1}}',
        "the log file is a folder": GOOD.replace("output_dir: out", "output_dir: out\n  log_file: ."),
        "the output folder is a file": GOOD.replace("output_dir: out", "output_dir: text.txt"),
        "the output folder is a device": GOOD.replace("output_dir: out", "output_dir: /dev/null"),
        "the output folder is below a file": GOOD.replace("output_dir: out", "output_dir: text.txt/out"),
        "a path of 5,000 letters": GOOD.replace("output_dir: out", f"output_dir: {'x' * 5000}"),
    }  # fmt: skip
    yield from whole.items()


def on_the_command_line(chance: random.Random) -> Iterator[Odd]:
    """Options with odd values; the configuration is good."""
    keys = [(section, key) for section, key, _ in each_key() if key != "architecture"]
    for _ in range(30):
        _, key = chance.choice(keys)
        value = chance.choice(["", "\x1b[31mred", "[]", "-1", "nan", "1e309", "null", "a\u202eb", "9" * 400])
        option = f"--{key.replace('_', '-')}"
        prepare = _with_option(option, value)
        yield Odd(f"{option}={value[:9]!r}", prepare, "either")
    for value in (
        "{",
        "[" * 5000,
        '{"model_type": NaN}',
        "5",
        json.dumps({**SIZES, "n_head": [1]}),
        "null",
        '{"a": 1, "a": 2}',
    ):
        yield Odd(f"--architecture={value[:20]}", _with_option("--architecture", value), "refused")


def _with_option(option: str, value: str) -> Callable[[Path], list[str]]:
    return lambda here: [*write(here, settings()), f"{option}={value}"]
