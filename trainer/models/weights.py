"""The weights of a model folder: which files hold them, and that every weight of the model is loaded from them.

A model that is continued with new random weights trains as if nothing were wrong, and the hours are lost. So weights that are
missing, incomplete or under other names are errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

from doctor.bounded import read_json
from trainer.distributed import shard_files
from trainer.errors import UserError
from trainer.models import hub

CausalLM: Any = AutoModelForCausalLM
INDEX = ".index.json"
# The files that transformers reads, in its order of preference. An index lists the files of a model that was split.
FILES = ("model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}")
# Other files that may contain weights.
SUFFIXES = (
    *(".safetensors", ".bin", ".gguf", ".ggml", ".pth", ".pt", ".ckpt", ".pkl", ".pickle"),
    *(".h5", ".msgpack", ".onnx", ".npz", ".incomplete", ".part", ".download"),
)
FROM_SCRATCH = "To train it from new, random weights instead, use model.from_scratch: true (--from-scratch)."
SAVED = {"F16": torch.float16, "BF16": torch.bfloat16}  # names of safetensors
SHOWN = 3  # names in a message


class MissingWeightsError(UserError):
    """A model folder has no weights, or not all of them."""


def files(folder: Path) -> list[Path]:
    """The files that hold the weights of a model folder, whether they exist or not; empty if there are none.

    Those of a checkpoint in parts also hold the optimizer's state.

    Raises:
        UserError: the list of files cannot be read.
    """
    if parts := shard_files.files_in(folder / shard_files.FOLDER):
        return parts
    for name in FILES:
        path = folder / name
        if not path.exists():
            continue
        if not name.endswith(INDEX):
            return [path]
        hub.check_files([path])
        try:
            listed = read_json(path)["weight_map"].values()
            return [folder / file for file in sorted(set(listed))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path.absolute()} does not list the files with the weights: {error!r}."
            ) from error
    return []


def check(folder: Path, hub_id: str | None = None) -> None:
    """Check that a model folder has all files with its weights.

    Args:
        hub_id: the Hugging Face id of the model, if the folder is its copy in the cache.

    Raises:
        UserError: there are none, some are missing, or they are damaged.
    """
    found = files(folder)
    missing = [path.name for path in found if not path.is_file()]
    if not found or missing:
        raise MissingWeightsError(f"{_what_is_missing(folder, missing)} {_way_out(hub_id)} {FROM_SCRATCH}")
    hub.check_files(found)
    for path in found:
        _check_readable(path)


def _what_is_missing(folder: Path, missing: list[str]) -> str:
    if missing:
        return f"{folder.absolute()} contains only a part of the model's weights. Missing: {_some(missing)}."
    others = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name not in FILES
    )
    broken = [name for name in FILES if (folder / name).is_symlink()]
    found = (
        f"found {_some([*broken, *others])}, which aios does not read"
        if others
        else "found no weights at all"
    )
    if broken:
        found = f"the content of {_some(broken)} is missing from the cache"
    return f"{folder.absolute()} contains no weights: looked for {FILES[0]} and {FILES[2]}, {found}."


def _way_out(hub_id: str | None) -> str:
    if hub_id:
        return f"To complete the download of {hub_id}, run `aios fetch {hub_id}`."
    return "Use a folder with the weights in transformers' format, such as a complete download."


def _check_readable(path: Path) -> None:
    if path.suffix != ".safetensors":
        return
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path.absolute()} is damaged or incomplete ({error}). Copy or download it again."
        ) from error


def load(config: Any, folder: Path, dtype: torch.dtype, **more: Any) -> tuple[Any, list[str]]:
    """The model of a configuration with the weights in a folder, and notes about them.

    A prefix before all names, such as the "_orig_mod." of torch.compile, is removed if every weight then has its place.

    Args:
        more: arguments of `from_pretrained`.

    Raises:
        UserError: a weight of the model is not in the folder, or has another shape.
    """
    check(folder)
    if (folder / shard_files.FOLDER).is_dir():
        kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        model, loading = _from_pretrained(kind, None, config, dtype, state_dict=_read(folder), **more)
    else:
        model, loading = _from_pretrained(CausalLM, folder, config, dtype, **more)
    if not (loading["missing_keys"] or loading["mismatched_keys"]):
        return model, [*_unused(folder, loading)]
    saved = None
    if loading["missing_keys"]:
        saved = _read(folder)
        for prefix in _common_prefixes([*saved]):
            stripped = {name.removeprefix(prefix): tensor for name, tensor in saved.items()}
            other, fits = _from_pretrained(type(model), None, config, dtype, state_dict=stripped, **more)
            if not any(fits[key] for key in ("missing_keys", "mismatched_keys", "unexpected_keys")):
                note = f"the names of all weights in {folder} begin with {prefix!r}. Without it, every weight fits the model."
                return other, [note]
    raise MissingWeightsError(_misfit(model, folder, loading, saved))


def _from_pretrained(
    kind: Any, folder: Path | None, config: Any, dtype: torch.dtype, **more: Any
) -> tuple[Any, dict[str, Any]]:
    local = {"local_files_only": True, "trust_remote_code": False} if folder else {}
    model, loading = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported by `_misfit`
        **local,
        **more,
    )
    return model, loading


def _read(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder."""
    found: dict[str, Tensor] = {}
    if (folder / shard_files.FOLDER).is_dir():
        return read_parts(folder)
    for path in files(folder):
        if path.suffix == ".safetensors":
            found |= load_file(path)
        else:
            found |= torch.load(path, map_location="cpu", weights_only=True)
    return found


def read_parts(folder: Path, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Whole weights of a checkpoint in parts: all of them, or those with these names."""
    parts = files(folder)
    wanted = [name for name in shard_files.describe(parts) if not name.startswith(shard_files.OPTIMIZER)]
    return shard_files.read(parts, wanted if names is None else names)


def _common_prefixes(names: list[str]) -> Iterator[str]:
    """The dotted prefixes that all names share, the shortest first."""
    parts = [name.split(".")[:-1] for name in names]
    prefix = ""
    for level in zip(*parts, strict=False):
        if len({*level}) > 1:
            return
        prefix += f"{level[0]}."
        yield prefix


def _unused(folder: Path, loading: dict[str, Any]) -> Iterator[str]:
    if unused := sorted(loading["unexpected_keys"]):
        yield f"{len(unused)} weights in {folder} do not belong to this model and are not used: {_some(unused)}."


def _misfit(model: Any, folder: Path, loading: dict[str, Any], saved: dict[str, Tensor] | None) -> str:
    missing, others = sorted(loading["missing_keys"]), sorted(loading["unexpected_keys"])
    total = len([*model.parameters()])
    parts = [f"The weights in {folder.absolute()} do not fit the model ({type(model).__name__})."]
    if missing:
        parts.append(f"{len(missing)} of its {total} weights are missing: {_some(missing)}.")
    if others:
        parts.append(f"The files have {len(others)} other weights: {_some(others)}.")
    prefix = next(_common_prefixes([*(saved or ())]), "")
    if prefix and others:
        parts.append(f"All names begin with {prefix!r}; without it, they do not fit either.")
    if any("lora_" in name or ".base_layer." in name for name in others):
        parts.append("They contain a LoRA adapter that was not merged: merge it with peft first.")
    for name, found, expected in sorted(loading["mismatched_keys"])[:SHOWN]:
        parts.append(f"{name} has the shape {[*found]}, but the model needs {[*expected]}.")
    parts.append(f"Continue from complete weights under transformers' names. {FROM_SCRATCH}")
    return " ".join(parts)


def saved_dtype(folder: Path) -> torch.dtype:
    """The type of the weights in a model folder: float16 or bfloat16 if the first matrix has it, otherwise float32."""
    for path in files(folder):
        if path.suffix != ".safetensors":
            break
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is not a dict
                entry = opened.get_slice(name)
                if len(entry.get_shape()) > 1:
                    return SAVED.get(entry.get_dtype(), torch.float32)
    return torch.float32


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
