"""The card of an exported model: README.md with the base model, its licence, the data and the settings of the training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from doctor.bounded import read_text
from trainer.errors import UserError
from trainer.models import hub
from trainer.survival.own_checkpoints import STATE
from trainer.survival.saved_state import SavedState, read_state

CARD = "README.md"
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
Table = list[tuple[str, str]]


def card(folder: Path, title: str, *, adapter: bool) -> str | None:
    """The card of a checkpoint; None for a model folder of another program, which has its own.

    Args:
        adapter: the exported folder contains an adapter, not a whole model.
    """
    if not (folder / STATE).exists():
        return None
    saved = read_state(folder)
    base = saved.config["model"].get("name")
    licence = licence_of(folder)
    front = {
        **({"base_model": _name(base)} if base else {}),
        **({"license": licence} if licence else {}),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["aios", *(["lora"] if saved.config["model"].get("use_peft") else [])],
    }
    origin = f"Fine-tuned from {_name(base)}" if base else "Trained from scratch"
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {title}",
            "",
            f"{origin} with aios.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in _training(saved)),
            "",
            "## Licence",
            "",
            _licence(base, licence),
            "",
        ]
    )


def licence_of(folder: Path) -> str | None:
    """The licence of the model that a checkpoint was trained from, as its card or folder names it; None if unknown."""
    base = read_state(folder).config["model"].get("name") if (folder / STATE).exists() else None
    if base is None:
        return None
    try:
        source = hub.local_copy(base, "model.name")
    except UserError:  # it has been deleted since
        return None
    try:
        text = read_text(source / CARD)
    except (OSError, UnicodeDecodeError):
        text = ""
    found = _front_matter(text).get("license")
    if isinstance(found, str) and found:
        return found
    return "other" if any((source / name).exists() for name in LICENCES) else None


def _front_matter(text: str) -> dict[str, Any]:
    """The YAML between the first two lines ---; empty if there is none."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in lines[1:]:
        return {}
    try:
        found = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _training(saved: SavedState) -> Iterator[tuple[str, str]]:
    settings, data, training = (saved.config[section] for section in ("model", "data", "training"))
    yield "Data", _name(str(data.get("dataset_file")))
    if content := saved.data_set:
        yield "Samples", f"{content['samples']:,} of {data['max_length']:,} tokens"
    yield "Steps", f"{saved.position.step:,} ({saved.position.samples:,} samples read)"
    yield "Learning rate", f"{training['learning_rate']:g}, {training['schedule']}"
    if settings.get("use_peft"):
        yield "Method", f"LoRA, rank {settings['lora_r']}, alpha {settings['lora_alpha']}"
    else:
        yield "Method", "all weights"
    if saved.best and saved.best.step == saved.position.step:
        yield "Held-out loss", f"{saved.best.loss:.4f} nats per token"
    yield "Seed", str(training["seed"])


def _licence(base: str | None, licence: str | None) -> str:
    if base is None:
        return "Choose a licence that the training data allows."
    if licence is None:
        return f"The licence of {_name(base)} is not in its folder. Find it where the model was published: it also applies to this model."
    named = "a licence of its own, in its folder" if licence == "other" else licence
    return f"The licence of {_name(base)} is {named}. It also applies to this model."


def _name(path: str) -> str:
    """A Hugging Face id unchanged; of a local path, which others cannot use, only the last part."""
    local = PureWindowsPath(path).is_absolute() or PurePosixPath(path).is_absolute() or "\\" in path
    deep = path.startswith(".") or path.count("/") > 1 or Path(path).exists()
    return PureWindowsPath(path).name if local or deep else path


def _cell(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1].replace("|", "\\|")
