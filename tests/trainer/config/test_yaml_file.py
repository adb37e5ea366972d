"""Configuration files written by hand: how YAML reads them, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer import config
from trainer.config import yaml_file
from trainer.config.sections import each_key
from trainer.errors import UserError

GOOD = """\
model: {architecture: {model_type: llama, rope_theta: 1e6, eps: 1E-05}, tokenizer: byte}
data:
  dataset_file: 'C:\\new\\tab'
training:
  learning_rate: 2e-5
  steps: 1_000
output:
  output_dir: 2026-11-30
"""


def load(folder: Path, content: str | bytes) -> config.TrainConfig:
    path = folder / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return config.load(path, {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_configuration_is_read_in_any_unicode_encoding(tmp_path: Path, encoding: str) -> None:
    loaded = load(tmp_path, GOOD.replace("\n", "\r\n").encode(encoding))
    assert loaded.training.learning_rate == 2e-5
    assert loaded.training.steps == 1000
    assert loaded.model.architecture == {"model_type": "llama", "rope_theta": 1e6, "eps": 1e-5}
    assert loaded.data.dataset_file == Path(r"C:\new\tab")
    assert loaded.output.output_dir == Path("2026-11-30")


def test_merge_keys_and_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, y: 3}\nd: *b\n", encoding="utf-8")
    assert yaml_file.read(path) == {
        "a": {"x": 1, "y": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}, "d": {"x": 1, "y": 2}
    }  # fmt: skip


QUOTES = "Write a Windows path in single quotes, or with / instead of"
LAUGHS = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 'lol'}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("training:\n  steps: 1\ndata: {}\ntraining:\n  amp: true\n", ["training is given twice, in lines 1 and 4"]),
        ("training:\n  steps: 1\n  steps: 2\n", ["steps is given twice, in lines 2 and 3"]),
        ("training:\n  lr: 1e-3\n  learning_rate: 2e-3\n", ["training.learning_rate: the same key as training.lr. Remove one of the two"]),
        ('data:\n  dataset_file: "C:\\data"\n', ["line 2", QUOTES]),
        ('data:\n  dataset_file: "C:\\Users\\me"\n', ["line 2", QUOTES]),
        ('data:\n  dataset_file: "C:\\"\n', [QUOTES]),
        ('data:\n  dataset_file: "C:\\new\\tab"\n', ["data.dataset_file", "a line break", QUOTES]),
        ('data:\n  dataset_file: "data\\text"\n', ["a tab", QUOTES]),
        ('data:\n  dataset_file: "D:\\_x"\n', ["a no-break space", QUOTES]),
        ('model:\n  name: "models\\base"\n', ["model.name", "a backspace", QUOTES]),
        ("training:\n\tsteps: 1\n", ["line 2, column 1: a tab, where YAML requires spaces"]),
        ("training:\n  steps:\t1\n  \tamp: true\n", ["a tab"]),
        ("training: [steps]\n", ["training contains a list instead of keys", "Valid keys of training:", " steps, "]),
        ("training: 5\n", ["training contains a number instead of keys"]),
        ("training:\n  steps:\n", ["training.steps has no value", "Meaning: Total number"]),
        ("training:\n  learning_rate: .nan\n", ["training.learning_rate = nan"]),
        ("training:\n  learning_rate: .inf\n", ["training.learning_rate = inf"]),
        ("training:\n  learning_rte: 1\n", ["Did you mean learning_rate?"]),
        ("training:\n  windw_size: 1\n", ["Did you mean model.window_size?"]),
        ("training:\n  window_size: 1\n", ["It belongs to another section: model.window_size"]),
        ("steps: 5\n", ["steps: unknown key", "It belongs to another section: training.steps"]),
        ("trainig: {}\n", ["Did you mean training?"]),
        ("1: 2\n", ["1: unknown key"]),
        ("training: {true: 1}\n", ["unknown key"]),
        ("model: {name: 5}\n", ["model.name = 5", "write it in quotes"]),
        ("just words\n", ["contains a text instead of sections"]),
        ("- a\n", ["contains a list instead of sections"]),
        ("a: 1\n---\nb: 2\n", ["not valid YAML", "line 2"]),
        ("training: {steps: !!int x}\n", ["the tag tag:yaml.org,2002:int is not supported"]),
        ("a: !!python/object/apply:os.getcwd []\n", ["is not supported"]),
        ("model: {name: a: b}\n", ["line 1"]),
        (LAUGHS, ["more than 100,000 values"]),
        ("a: &a [*a]\n", ["more than 100,000 values"]),
        ("[" * 5000, ["nested too deeply"]),
        (f"training: {{steps: {'9' * 5000}}}\n", ["cannot be read"]),
        ("a: \x01", ["not valid YAML", "special characters"]),
        (b"data: caf\xe9", ["not UTF-8", "Latin-1"]),
        (b"\xff\xfea", ["not valid UTF-16. Save it as UTF-8"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["git-lfs pointer", "git lfs pull"]),
        (b"%PDF-1.7", ["a PDF document"]),
        (b"\x80\x04\x95", ["a pickle"]),
        (b"#" * (5 << 20), ["too large: more than 4 MiB"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_what_to_write(
    tmp_path: Path, content: str | bytes, words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, content)
    assert str(tmp_path / "c.yaml") in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_prompt_may_have_line_breaks_where_a_path_may_not(tmp_path: Path) -> None:
    loaded = load(tmp_path, f"{GOOD}\n".replace("  steps: 1_000", '  sample_prompt: "Q:\\nWhy?\\tA:"'))
    assert loaded.training.sample_prompt == "Q:\nWhy?\tA:"


def test_a_folder_or_a_device_is_not_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder\. Set --config"):
        config.load(tmp_path, {})
    if Path("/dev/zero").is_char_device():
        with pytest.raises(UserError, match="not a regular file"):
            config.load(Path("/dev/zero"), {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([key for _, key, _ in each_key()]) | st.text(max_size=9)
SECTIONS = st.dictionaries(
    st.sampled_from(["model", "data", "training", "output"]) | st.text(max_size=9),
    st.dictionaries(KEYS, VALUES, max_size=4) | VALUES,
    max_size=4,
)
SCRAPS = ["model:", "data:", "\n", "  ", "\t", ": ", "- ", '"C:\\new"', "'", "&a ", "*a", "<<: ", "!!int ", "{", "}", "[", "# ", "---\n", "| ", "1e5", "steps"]  # fmt: skip
FILES = (
    st.binary(max_size=200)
    | SECTIONS.map(lambda content: yaml.safe_dump(content, allow_unicode=True).encode())
    | st.lists(st.sampled_from(SCRAPS), max_size=20).map(lambda parts: "".join(parts).encode())
    | st.text(max_size=50).flatmap(
        lambda text: st.sampled_from([text.encode(name, "replace") for name in ("utf-16", "latin-1")])
    )
)


@given(content=FILES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_file_contains_it_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        loaded = load(tmp_path, content)
    except UserError as error:
        assert len(str(error)) > 40
    else:
        assert math.isfinite(loaded.training.learning_rate)
