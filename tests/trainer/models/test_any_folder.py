"""A model folder with any fault is used, or refused with a UserError, which the commands print as one sentence.

CI tries a few faults. To try more: python scripts/run_tests.py -m long tests/trainer/models/test_any_folder.py
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer import small_models
from tests.trainer.small_tokenizers import byte_level
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import model, model_attention, trial
from trainer.start import Options, find_start
from trainer.survival.checkpoint import CheckpointFolder

KEYS = (
    "architectures", "attention_bias", "attention_dropout", "bos_token_id", "dtype", "eos_token_id", "head_dim",
    "hidden_act", "hidden_size", "initializer_range", "intermediate_size", "max_position_embeddings",
    "mlp_bias", "model_type", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "pad_token_id",
    "rms_norm_eps", "rope_parameters", "rope_scaling", "sliding_window", "tie_word_embeddings",
    "transformers_version", "use_cache", "vocab_size", "quantization_config", "auto_map", "layer_types",
    "text_config", "aios_windows", "is_decoder",
)  # fmt: skip
FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "generation_config.json",
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 65),
    st.floats(allow_nan=False, width=16),
    st.sampled_from(["", "bert", "llama", "gelu", "float16", "x" * 40]),
    st.lists(st.integers(-1, 9), max_size=3),
    st.dictionaries(
        st.sampled_from(["rope_type", "factor", "model_type", "quant_method"]),
        st.sampled_from(["yarn", 2, None]),
    ),
)
CONTENTS = st.one_of(
    st.sampled_from([b"", b"{}", b"[]", b"null", b'{"a": ', b"\xff\xfe{", b"x" * 300]), st.binary(max_size=20)
)
FAULTS = st.one_of(
    st.tuples(st.just("key"), st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2)),
    st.tuples(st.just("without"), st.sampled_from(KEYS)),
    st.tuples(st.just("content"), st.tuples(st.sampled_from(FILES), CONTENTS)),
    st.tuples(st.just("no file"), st.sampled_from(FILES)),
)


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A folder without a fault."""
    with TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        small_models.model("llama", backend=None).save_pretrained(folder)
        byte_level("").save_pretrained(folder)
        yield folder


def spoil(folder: Path, kind: str, fault: Any) -> None:
    config = folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    if kind == "key":
        config.write_text(json.dumps(values | fault), encoding="utf-8")
    elif kind == "without":
        values.pop(fault, None)
        config.write_text(json.dumps(values), encoding="utf-8")
    elif kind == "content":
        (folder / fault[0]).write_bytes(fault[1])
    else:
        (folder / fault).unlink()


def use(folder: Path) -> Any:
    """What `aios train` does with a folder before it reads the data, and then the model, which is returned."""
    config = TrainConfig.model_validate({"model": {"name": str(folder)}})
    start = find_start(config, Options(), CheckpointFolder(folder / "none", 1), lambda _: None)
    model.check_length(start.model_config, 16)
    windows = model_attention.requested_windows(config.model, start.model_config)
    trial.try_out(start.model_config, windows)
    network, _ = model.build(start.model_config, start.weights, 0)
    return network


def test_the_folder_itself_is_used(whole: Path) -> None:
    assert use(whole).config.model_type == "llama"


def check(whole: Path, fault: tuple[str, Any]) -> None:
    with TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        shutil.copytree(whole, folder)
        spoil(folder, *fault)
        with suppress(UserError):
            use(folder)


@pytest.mark.parametrize("windows", [True, 8, [8], [8, None, 8], [8, True], [8, 0], ["S", "L"], {}])
def test_windows_that_are_not_one_for_each_layer_are_refused(whole: Path, windows: Any) -> None:
    with TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        shutil.copytree(whole, folder)
        spoil(folder, "key", {"aios_windows": windows})
        with pytest.raises(UserError, match=r"config\.json: aios_windows must be a list of 2 windows"):
            use(folder)


QUICK = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck])
LONG = settings(max_examples=1000, deadline=None, suppress_health_check=[*HealthCheck])


@QUICK
@given(fault=FAULTS)
def test_a_folder_with_a_fault_is_used_or_refused(whole: Path, fault: tuple[str, Any]) -> None:
    check(whole, fault)


@pytest.mark.long
@LONG
@given(fault=FAULTS)
def test_a_folder_with_any_fault_is_used_or_refused(whole: Path, fault: tuple[str, Any]) -> None:
    check(whole, fault)
