"""The configuration: valid and invalid keys and values, and the error messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer import config
from trainer.errors import UserError

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]


def test_every_key_is_unique_over_all_sections() -> None:
    names = [key for _, key, _ in config.each_key()]
    assert len(names) == len(set(names))
    assert all(field.description for _, _, field in config.each_key())


def test_an_override_wins_over_the_file(settings: Settings, write_config: WriteConfig) -> None:
    loaded = config.load(write_config(settings), {"window_size": "512", "learning_rate": "1e-4", "amp": True})
    assert (loaded.model.window_size, loaded.training.learning_rate, loaded.training.amp) == (512, 1e-4, True)
    assert loaded.training.steps == 6


def test_an_override_replaces_the_alias_in_the_file(settings: Settings, write_config: WriteConfig) -> None:
    settings["training"]["lr"] = settings["training"].pop("learning_rate")
    assert config.load(write_config(settings), {}).training.learning_rate == 1e-3
    assert config.load(write_config(settings), {"learning_rate": "2e-4"}).training.learning_rate == 2e-4


@pytest.mark.parametrize(
    ("file", "override", "expected"),
    [
        ({"use_flash_attention": True}, {}, "flash_attn_2"),
        ({"use_flash_attention": False}, {}, "sdpa"),
        ({}, {}, "auto"),
        ({"attention_backend": "manual"}, {}, "manual"),
        ({"use_flash_attention": True}, {"attention_backend": "sdpa"}, "sdpa"),
        ({"attention_backend": "manual"}, {"use_flash_attention": False}, "sdpa"),
        ({"use_flash_attention": True, "attention_backend": "flash_attn_2"}, {}, "flash_attn_2"),
    ],
)
def test_the_two_keys_for_a_backend_give_one_request(
    settings: Settings, write_config: WriteConfig, file: Any, override: Any, expected: str
) -> None:
    settings["model"] |= file
    assert config.load(write_config(settings), override).requested_backend == expected


@pytest.mark.parametrize(
    ("file", "override", "expected"),
    [
        ({"window_size": 9, "window_pattern": "SSSL"}, {}, (9, "SSSL", None)),
        ({"window_size": 9}, {"window_pattern": "SL", "full_layers": "0,-1"}, (9, "SL", (0, -1))),
        ({"window_size": 9, "full_layers": [0]}, {"full_layers": "-1"}, (9, None, (-1,))),
        ({}, {"window_pattern": "9,0"}, (None, (9, 0), None)),
        ({"window_pattern": [9, 0], "full_layers": [-1]}, {}, (None, (9, 0), (-1,))),
        ({"window_size": 9, "window_pattern": "SSSL"}, {"window_size": "0"}, (0, "SSSL", None)),
        ({"window_size": 9, "window_pattern": "SL"}, {"window_pattern": "none"}, (9, None, None)),
    ],
)
def test_windows_are_written_as_letters_or_as_numbers(
    settings: Settings, write_config: WriteConfig, file: Any, override: Any, expected: Any
) -> None:
    settings["model"] |= file
    model = config.load(write_config(settings), override).model
    assert (model.window_size, model.window_pattern, model.full_layers) == expected


def test_naming_a_model_replaces_the_architecture_of_the_file(
    settings: Settings, write_config: WriteConfig
) -> None:
    loaded = config.load(write_config(settings), {"name": "some/model"})
    assert (loaded.model.name, loaded.model.architecture) == ("some/model", None)


def test_an_architecture_can_be_given_on_the_command_line(
    settings: Settings, write_config: WriteConfig
) -> None:
    loaded = config.load(write_config(settings), {"architecture": '{"model_type": "llama"}'})
    assert loaded.model.architecture == {"model_type": "llama"}


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        (
            "model",
            "windw_size",
            8,
            ["model.windw_size: unknown key", "Did you mean window_size?", "attention_backend"],
        ),
        ("model", "batch_size", 8, ["model.batch_size: unknown key", "another section: training.batch_size"]),
        (
            "model",
            "window_size",
            -1,
            ["model.window_size = -1", "greater than or equal to 0", "Sliding window: number of tokens"],
        ),
        (
            "model",
            "attention_backend",
            "flash",
            ["'flash'", "'flash_attn_2', 'flash_attn_4', 'hub_kernels', 'xformers', 'sdpa' or 'manual'"],
        ),
        ("training", "steps", 0, ["training.steps = 0", "greater than or equal to 1"]),
        ("training", "steps", "many", ["training.steps = 'many'", "valid integer"]),
        ("training", "steps", True, ["training.steps = True", "a number is required, not true or false"]),
        ("training", "lr", True, ["training.lr = True", "a number is required"]),
        ("model", "window_size", False, ["model.window_size = False", "a number is required"]),
        ("training", "seed", 10**30, ["training.seed = 1000", "a whole number must be between"]),
        ("training", "device", "gpu", ["training.device = 'gpu'", "auto, cpu, cuda or cuda:N"]),
        ("training", "lr", -1.0, ["training.lr = -1.0", "greater than 0"]),
        ("data", "eval_fraction", 0.9, ["data.eval_fraction = 0.9", "less than or equal to 0.5"]),
        ("model", "use_flash_attention", "maybe", ["model.use_flash_attention = 'maybe'"]),
        ("model", "window_pattern", "SXL", ["model.window_pattern = 'SXL': a window pattern is made of S"]),
        (
            "model",
            "window_pattern",
            [5, -2],
            ["model.window_pattern = [5, -2]", "must not be negative, got -2"],
        ),
        ("model", "window_pattern", [5, "L"], ["model.window_pattern = [5, 'L']", "whole numbers"]),
        ("model", "full_layers", "last", ["model.full_layers = 'last'", "0 is the first, -1 the last"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_is_allowed(
    settings: Settings, write_config: WriteConfig, section: str, key: str, value: Any, words: list[str]
) -> None:
    if key == "lr":
        del settings["training"]["learning_rate"]
    settings[section][key] = value
    with pytest.raises(UserError) as error:
        config.load(write_config(settings), {})
    for word in [*words, "config.yaml"]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": {}}, "extra: unknown key. Valid keys: model, data, training, output."),
        ({"data": {}}, "data.dataset_file (--dataset-file)"),
        ({"model": {"tokenizer": "byte"}}, "has neither"),
        ({"model": {"name": "gpt2", "architecture": {"model_type": "gpt2"}}}, "has both"),
        ({"model": {"architecture": {"model_type": "gpt2"}}}, "requires a tokenizer"),
        (
            {"model": {"name": "x", "use_flash_attention": True, "attention_backend": "sdpa"}},
            "Remove one of the two",
        ),
        ({"training": "fast"}, "training contains a text instead of keys"),
        ({"model": {"name": "x", "window_pattern": "SSSL"}}, "require a window: set model.window_size"),
        ({"model": {"name": "x", "full_layers": [-1]}}, "require a window: set model.window_size"),
        (
            {"model": {"name": "x", "window_size": 5, "window_pattern": [5]}},
            "Remove one of the two, or write",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_explained(
    settings: Settings, write_config: WriteConfig, change: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")):
        config.load(write_config(settings | change), {"steps": "3"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"model: [", "not valid YAML"),
        (b"- one\n- two\n", "contains a list"),
        (b"\xff\xfe\x00", "is not valid UTF-16"),
    ],
)
def test_an_unreadable_file_is_explained(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        config.load(path, {})


def test_a_missing_file_is_named_with_its_full_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No configuration file at"):
        config.load(tmp_path / "none.yaml", {})


def test_an_empty_section_has_its_defaults(settings: Settings, write_config: WriteConfig) -> None:
    settings["training"] = None  # type: ignore[assignment]
    assert config.load(write_config(settings), {}).training.batch_size == 8
