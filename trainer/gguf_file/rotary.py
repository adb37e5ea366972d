"""Rotary position encoding in the terms of llama.cpp: keys, and tensors that divide the frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.errors import UserError
from trainer.gguf_file.architectures import Architecture, Metadata, head_dim

Tensors = dict[str, npt.NDArray[np.float32]]


def rotary(config: Any, found: Architecture) -> tuple[Metadata, Tensors]:
    """The keys, without llama.cpp's prefix, and the tensors.

    Raises:
        UserError: llama.cpp has no such scaling.
    """
    parameters = dict(config.rope_parameters)
    local = parameters.get("sliding_attention")
    parameters = dict(parameters.get("full_attention", parameters))
    dimension = int(head_dim(config) * float(parameters.get("partial_rotary_factor") or 1.0))
    keys: Metadata = {
        "rope.dimension_count": dimension,
        "rope.freq_base": float(parameters["rope_theta"]),
    }
    if local is not None:
        if local.get("rope_type", "default") != "default":
            raise _no_such(local)
        keys["rope.freq_base_swa"] = float(local["rope_theta"])
    scaling, tensors = _scaling(config, parameters, dimension)
    return keys | scaling, tensors


def _scaling(config: Any, parameters: dict[str, Any], dimension: int) -> tuple[Metadata, Tensors]:
    kind = parameters.get("rope_type", "default")
    original = parameters.get("original_max_position_embeddings")
    if kind == "default":
        return {}, {}
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(parameters["factor"])}, {}
    if kind == "llama3":
        return {}, {"rope_freqs.weight": _llama3(parameters, dimension)}
    if kind == "yarn" and _usual_yarn(parameters):
        keys: Metadata = {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(parameters["factor"]),
            "rope.scaling.original_context_length": int(original or config.max_position_embeddings),
        }
        for key in ("beta_fast", "beta_slow"):
            if parameters.get(key):
                keys[f"rope.scaling.yarn_{key}"] = float(parameters[key])
        return keys, {}
    if kind == "longrope" and config.model_type == "phi3":
        return _longrope(config, parameters)
    raise _no_such(parameters)


def _usual_yarn(parameters: dict[str, Any]) -> bool:
    """Whether llama.cpp's defaults are these settings."""
    usual = ("attention_factor", "mscale", "mscale_all_dim")
    return parameters.get("truncate", True) and not any(parameters.get(key) for key in usual)


def _llama3(parameters: dict[str, Any], dimension: int) -> npt.NDArray[np.float32]:
    """The divisor of each frequency: 1 for short wavelengths, `factor` for long ones, and a smooth transition between them."""
    base, factor = float(parameters["rope_theta"]), float(parameters["factor"])
    low, high = float(parameters["low_freq_factor"]), float(parameters["high_freq_factor"])
    wavelengths = 2 * math.pi * base ** (np.arange(0, dimension, 2) / dimension)
    turns = float(parameters["original_max_position_embeddings"]) / wavelengths  # within the original context
    share = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - share) / factor + share)).astype(np.float32)


def _longrope(config: Any, parameters: dict[str, Any]) -> tuple[Metadata, Tensors]:
    original = int(
        parameters.get("original_max_position_embeddings") or config.original_max_position_embeddings
    )
    extension = float(parameters.get("factor") or config.max_position_embeddings / original)
    default = math.sqrt(1 + math.log(extension) / math.log(original)) if extension > 1 else 1.0
    keys: Metadata = {
        "rope.scaling.original_context_length": original,
        "rope.scaling.attn_factor": float(parameters.get("attention_factor") or default),
    }
    tensors = {
        f"rope_factors_{name}.weight": np.asarray(parameters[f"{name}_factor"], dtype=np.float32)
        for name in ("long", "short")
    }
    return keys, tensors


def _no_such(parameters: dict[str, Any]) -> UserError:
    return UserError(f"--gguf: llama.cpp has no position encoding with these settings: {parameters}.")
