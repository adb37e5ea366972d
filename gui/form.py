"""The form of a training: its fields, from the configuration's own, and the command line and the messages for what was entered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from trainer.config import TrainConfig, each_key, load
from trainer.errors import UserError

FIRST = ("name", "dataset_file", "output_dir", "steps", "learning_rate", "batch_size", "max_length")
# Those that decide about memory and speed, in the order of a page
ATTENTION = (
    "use_flash_attention",
    "window_size",
    "use_chunked_training",
    "chunk_size",
    "gradient_checkpointing",
    "amp",
    "cpu_offload",
    "optimizer",
    "use_peft",
    "load_in_4bit",
)
SWITCHED_OFF = "use_flash_attention"  # on means the fastest that works here, which needs no option
PROBLEM = re.compile(r"^\s*(?P<section>\w+)\.(?P<key>\w+)\b")
Values = Mapping[str, str | bool]


@dataclass(frozen=True)
class Key:
    """A key of the configuration, as a field of a form."""

    section: str
    name: str
    field: FieldInfo

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to choose from; empty for a text or a number, also for one that may be `auto`."""
        annotation = self.field.annotation
        union = () if get_origin(annotation) is Literal else get_args(annotation)
        kinds = [kind for kind in union or (annotation,) if kind not in (type(None), bool)]
        if any(get_origin(kind) is not Literal for kind in kinds):
            return ()
        return tuple(str(value) for kind in kinds for value in get_args(kind))

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.field.annotation is bool

    @property
    def is_three_way(self) -> bool:
        """Whether it is on, off, or left to aios."""
        return bool in get_args(self.field.annotation)

    def initial(self, config: TrainConfig | None) -> str | bool:
        """The value that a form shows: of a configuration, or the default."""
        value = getattr(getattr(config, self.section), self.name) if config else self.field.default
        if self.is_switch:
            return bool(value)
        if self.name == SWITCHED_OFF:
            return value is not False
        if self.is_three_way:
            return {True: "yes", False: "no"}.get(value, "") if isinstance(value, bool) else ""
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)

    def given(self, entered: str | bool) -> str | bool:
        """What an option gets for an entered value."""
        if self.is_three_way and isinstance(entered, str):
            return {"yes": True, "no": False}.get(entered, "none")
        return entered if isinstance(entered, bool) or entered.strip() else "none"

    @property
    def help(self) -> str:
        """The help of its option."""
        return self.field.description or ""


KEYS = {key: Key(section, key, each) for section, key, each in each_key()}


@dataclass(frozen=True)
class Checked:
    """What the configuration says about the entered values.

    Attributes:
        config: None if it is not valid.
        wrong: the message for each key.
        general: messages about no single key.
    """

    config: TrainConfig | None
    wrong: dict[str, str] = field(default_factory=dict)
    general: tuple[str, ...] = ()


def check(config_file: str, values: Values) -> Checked:
    """Validate as `aios train` does, with its messages."""
    try:
        return Checked(load(Path(config_file) if config_file else None, dict(values)))
    except UserError as error:
        return _explained(str(error))


def _explained(message: str) -> Checked:
    first, *rest = message.splitlines()
    lines = rest if first.endswith("is not valid:") else [message]
    wrong: dict[str, str] = {}
    general = []
    for line in lines:
        found = PROBLEM.match(line)
        key = found["key"] if found else ""
        key = next((name for name, each in KEYS.items() if key in (name, each.field.alias)), "")
        if key:
            wrong[key] = line.strip()
        else:
            general.append(line.strip())
    return Checked(None, wrong, tuple(general))


def words(config_file: str, values: Values) -> tuple[str, ...]:
    """The options of `aios train` for what was entered."""
    given = ["--config", config_file] if config_file else []
    for name, value in values.items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{'' if value else 'no-'}{dashed}")
        else:
            given += [f"--{dashed}", value]
    return tuple(given)


def recorded_values(config: Mapping[str, Any]) -> dict[str, str | bool]:
    """The values of a recorded configuration that differ from the defaults, as a form has them."""
    return dict(_differing(config))


def _differing(config: Mapping[str, Any]) -> Iterator[tuple[str, str | bool]]:
    for name, key in KEYS.items():
        section = config.get(key.section)
        value = section.get(name) if isinstance(section, dict) else None
        if value is None or str(value) == str(key.field.default):
            continue
        if isinstance(value, bool):
            yield name, value
        elif isinstance(value, dict):
            yield name, json.dumps(value)
        elif isinstance(value, list):
            yield name, ",".join(map(str, value))
        else:
            yield name, str(value)
