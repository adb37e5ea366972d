"""Reading a configuration: the file, the overrides, and errors explained in the user's terms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from trainer.config import preference_keys, yaml_file
from trainer.config.other_names import advice_for_key, with_own_names
from trainer.config.sections import DataSection, ModelSection, TrainConfig, each_key
from trainer.errors import UserError

# Pairs of keys for the same setting: an override of one replaces the other.
ALTERNATIVES = {
    "name": "architecture",
    "architecture": "name",
    "attention_backend": "use_flash_attention",
    "use_flash_attention": "attention_backend",
    "steps": "epochs",
    "epochs": "steps",
}

SHIPPED = Path("configs/quickstart.yaml")
SIMILAR = 0.7  # to an unknown key, from 0 to 1
FREE_TEXT = ("sample_prompt", "architecture")


def load(file: Path | None, overrides: Mapping[str, Any], *, needs_data: bool = True) -> TrainConfig:
    """Read the configuration file, if any, and apply the overrides (key → value).

    Args:
        needs_data: refuse a configuration without a data set.

    Raises:
        UserError: the file cannot be read, or a key or value is invalid.
    """
    content = _read(file) if file else {}
    keys = {key: section for section, key, _ in each_key()}
    content = {
        section: with_own_names(values, keys) if isinstance(values, dict) else values
        for section, values in content.items()
    }
    for section, key, field in each_key():
        values = content.setdefault(section, {})
        if key in overrides and isinstance(values, dict):
            for other in (field.alias, ALTERNATIVES.get(key)):
                if other not in overrides:
                    values.pop(other, None)
            value = overrides[key]
            empty = value in ("none", "null") and value not in get_args(field.annotation)
            values[key] = None if empty else value
    _check_names(content, file)
    try:
        config = TrainConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(error, file)) from None
    _check(config)
    config = preference_keys.as_configured(config)
    if needs_data and config.data.dataset_file is None:
        raise UserError(
            "No training data: set data.dataset_file (--dataset-file) to a text file, or to a folder of them."
        )
    return config


def load_data(values: Mapping[str, Any]) -> DataSection:
    """The data section with these values.

    Raises:
        UserError: a value is invalid.
    """
    try:
        return TrainConfig.model_validate({"data": dict(values)}).data
    except ValidationError as error:
        raise UserError(_explain(error, None)) from None


def _read(file: Path) -> dict[str, Any]:
    content = yaml_file.read(file)
    if not isinstance(content or {}, dict):
        raise UserError(
            f"The configuration file {file.absolute()} contains {_kind(content)} instead of sections with keys. "
            f"Sections: {', '.join(TrainConfig.model_fields)}."
        )
    return {section: values if values is not None else {} for section, values in (content or {}).items()}


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def _check_names(content: dict[str, Any], file: Path | None) -> None:
    """Refuse paths and names with a control character, as "C:\\new" has after YAML has read it."""
    for section, values in content.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            found = (
                yaml_file.control_character(value)
                if isinstance(value, str) and key not in FREE_TEXT
                else None
            )
            if found:
                raise UserError(
                    f"{section}.{key} = {value!r}{f' in {file.absolute()}' if file else ''} contains {found}. "
                    f"{yaml_file.USE_SINGLE_QUOTES}"
                )


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = [f"The configuration{f' in {file.absolute()}' if file else ''} is not valid:"]
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        if where[2:] and where[2].startswith("literal["):  # auto, beside a number: the other error says more
            continue
        if where[2:] in (["int"], ["constrained-int"]):
            where = where[:2]
        lines.append(f"  {_problem(where, problem['type'], problem['input'], problem['msg'])}")
    return "\n".join(lines)


def _problem(where: list[str], kind: str, value: Any, message: str) -> str:
    name = ".".join(where)
    alias = next((field.alias for section, key, field in each_key() if [section, key] == where), None)
    if kind == "extra_forbidden" and alias:
        return f"{name}: the same key as {where[0]}.{alias}. Remove one of the two."
    if kind in ("extra_forbidden", "invalid_key") and (instead := advice_for_key(where[-1])):
        return f"{name}: unknown key. Here it is {instead}."
    if kind in ("extra_forbidden", "invalid_key"):
        return f"{name}: unknown key. {_valid_keys(where)}"
    if len(where) == 1:
        return f"{name} contains {_kind(value)} instead of keys. {_valid_keys([name, ''])}"
    if value is None:
        return f"{name} has no value. Write one, or remove the key for its default.{_meaning(where)}"
    if kind == "string_pattern_mismatch":
        return f"{name} = {value!r} is not valid.{_meaning(where)}"
    quotes = ""
    if kind in ("string_type", "path_type") and isinstance(value, (int, float)):
        quotes = " If this is a name, write it in quotes."
    return f"{name} = {value!r}: {message.removeprefix('Value error, ')}.{quotes}{_meaning(where)}"


def _valid_keys(where: list[str]) -> str:
    """The keys of a section, or the sections; and the nearest one to an unknown key, or its right section."""
    valid = (
        [key for section, key, _ in each_key() if section == where[0]]
        if len(where) > 1
        else [*TrainConfig.model_fields]
    )
    return f"{_guess(where[-1], valid)}Valid keys{f' of {where[0]}' if len(where) > 1 else ''}: {', '.join(valid)}."


def _guess(unknown: str, valid: list[str]) -> str:
    paths = {
        name: f"{section}.{key}"
        for section, key, field in each_key()
        for name in (key, field.alias)
        if name is not None
    }
    if unknown in paths:
        return f"It belongs to another section: {paths[unknown]}. "
    near = difflib.get_close_matches(unknown, [*valid, *paths], n=1, cutoff=SIMILAR)
    if not near:
        return ""
    return f"Did you mean {near[0] if near[0] in valid else paths[near[0]]}? "


def _meaning(where: list[str]) -> str:
    for section, key, field in each_key():
        if where[0] == section and len(where) > 1 and where[1] in (key, field.alias):
            return f" Meaning: {field.description}"
    return ""


def _check(config: TrainConfig) -> None:
    """Check keys against each other."""
    _check_model(config)
    sharding = config.training.sharding
    if sharding != "none" and config.training.optimizer in ("adamw_8bit", "paged_adamw_8bit"):
        raise UserError(
            f"training.optimizer = {config.training.optimizer} does not support training.sharding = {sharding}. Use --optimizer "
            "adamw, whose state is sharded as well, or --sharding none."
        )
    if sharding != "none" and config.model.weight_bits:
        raise UserError(
            f"model.load_in_{config.model.weight_bits}bit does not support training.sharding = {sharding}. Remove one of the two."
        )


def _example() -> str:
    """Return a sentence with a command that works in the current folder."""
    if SHIPPED.is_file():
        return f" To start from a configuration that is shipped: aios train --config {SHIPPED.as_posix()}"
    return " For a configuration that is shipped, see the last line of: aios doctor"


def _check_model(config: TrainConfig) -> None:
    model = config.model
    if (model.name is None) == (model.architecture is None):
        found = "neither" if model.name is None else "both"
        raise UserError(
            f"Set either model.name (--name), to continue training a model, or model.architecture, to train one from scratch: "
            f"the configuration has {found}.{_example() if found == 'neither' else ''}"
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
    _check_quantization(model)
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


def _check_quantization(model: ModelSection) -> None:
    if model.load_in_4bit and model.load_in_8bit:
        raise UserError("model.load_in_4bit and model.load_in_8bit are both set. Remove one of the two.")
    if model.weight_bits and not model.use_peft:
        raise UserError(
            f"model.load_in_{model.weight_bits}bit requires LoRA: quantized weights are frozen, and an adapter is trained "
            "beside them. Set model.use_peft (--use-peft)."
        )
