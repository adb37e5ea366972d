"""Reading a configuration: the file, the overrides, and errors explained in the user's terms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from trainer.config.sections import TrainConfig, each_key
from trainer.errors import UserError

# Pairs of keys for the same setting: an override of one replaces the other.
ALTERNATIVES = {
    "name": "architecture",
    "architecture": "name",
    "attention_backend": "use_flash_attention",
    "use_flash_attention": "attention_backend",
}


def load(file: Path | None, overrides: Mapping[str, Any]) -> TrainConfig:
    """Read the configuration file, if any, and apply the overrides (key → value).

    Raises:
        UserError: the file cannot be read, or a key or value is invalid.
    """
    content = _read(file) if file else {}
    for section, key, field in each_key():
        values = content.setdefault(section, {})
        if key in overrides and isinstance(values, dict):
            for other in (field.alias, ALTERNATIVES.get(key)):
                if other not in overrides:
                    values.pop(other, None)
            value = overrides[key]
            empty = value in ("none", "null") and value not in get_args(field.annotation)
            values[key] = None if empty else value
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(error, file)) from None
    _check(config)
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"No configuration file at {file.absolute()}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The configuration file {file.absolute()} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"The configuration file {file.absolute()} is not valid YAML: {error}") from None
    if not isinstance(content or {}, dict):
        raise UserError(
            f"The configuration file {file.absolute()} contains a {type(content).__name__} instead of sections with keys. "
            f"Sections: {', '.join(TrainConfig.model_fields)}."
        )
    return {section: values if values is not None else {} for section, values in (content or {}).items()}


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = [f"The configuration{f' in {file}' if file else ''} is not valid:"]
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        name = ".".join(where)
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {name}: unknown key. {_valid_keys(where)}")
        else:
            lines.append(
                f"  {name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}.{_meaning(where)}"
            )
    return "\n".join(lines)


def _valid_keys(where: list[str]) -> str:
    valid = (
        [key for section, key, _ in each_key() if section == where[0]]
        if len(where) > 1
        else [*TrainConfig.model_fields]
    )
    near = difflib.get_close_matches(where[-1], valid, n=1)
    guess = f"Did you mean {near[0]}? " if near else ""
    elsewhere = [f"{section}.{key}" for section, key, _ in each_key() if key == where[-1]]
    guess = f"It belongs to another section: {elsewhere[0]}. " if elsewhere else guess
    return f"{guess}Valid keys{f' of {where[0]}' if len(where) > 1 else ''}: {', '.join(valid)}."


def _meaning(where: list[str]) -> str:
    for section, key, field in each_key():
        if where[0] == section and len(where) > 1 and where[1] in (key, field.alias):
            return f" Meaning: {field.description}"
    return ""


def _check(config: TrainConfig) -> None:
    """Check keys against each other."""
    _check_model(config)
    if config.training.sharding == "full" and config.training.optimizer == "adamw_8bit":
        raise UserError(
            "training.optimizer = adamw_8bit does not support training.sharding = full. Use --optimizer adamw, whose state is "
            "sharded as well, or --sharding none."
        )
    if config.data.dataset_file is None:
        raise UserError(
            "No training data: set data.dataset_file (--dataset-file) to a text file, or to a folder of them."
        )


def _check_model(config: TrainConfig) -> None:
    model = config.model
    if (model.name is None) == (model.architecture is None):
        found = "neither" if model.name is None else "both"
        raise UserError(
            f"Set either model.name (--name), to continue training a model, or model.architecture, to train one from scratch: "
            f"the configuration has {found}."
        )
    if model.architecture is not None and model.tokenizer is None:
        raise UserError(
            "model.architecture requires a tokenizer: set model.tokenizer (--tokenizer) to byte, a local folder, or a "
            "Hugging Face id."
        )
    if model.use_flash_attention is not None and model.attention_backend not in (
        "auto",
        config.requested_backend,
    ):
        raise UserError(
            f"model.use_flash_attention = {model.use_flash_attention} means {config.requested_backend}, but "
            f"model.attention_backend = {model.attention_backend}. Remove one of the two."
        )
    if model.use_peft and model.name is None:
        raise UserError(
            "model.use_peft requires a trained model: set model.name (--name). To train from scratch, leave model.use_peft out."
        )
    lora = sorted(key for key in model.model_fields_set if key.startswith("lora_"))
    if lora and not model.use_peft:
        raise UserError(
            f"model.{lora[0]} has no effect without LoRA: set model.use_peft (--use-peft), or remove model.{lora[0]}."
        )
    own_sizes = isinstance(model.window_pattern, tuple)
    if own_sizes and model.window_size is not None:
        raise UserError(
            f"model.window_pattern = {model.window_pattern} already gives the windows, but model.window_size = "
            f"{model.window_size} is set as well. Remove one of the two, or write the pattern in letters, such as SSSL."
        )
    if not own_sizes and model.window_size is None and (model.window_pattern or model.full_layers):
        raise UserError(
            "model.window_pattern and model.full_layers require a window: set model.window_size (--window-size)."
        )
