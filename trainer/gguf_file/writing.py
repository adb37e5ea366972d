"""Writes the weights, the tokenizer and the settings of a checkpoint to one GGUF file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from doctor.extras import how_to_add
from doctor.files import replacing
from trainer.errors import RunError, UserError
from trainer.gguf_file.architectures import Architecture, architecture, sizes, windows
from trainer.gguf_file.rotary import rotary
from trainer.gguf_file.vocabulary import model_name, vocabulary
from trainer.model_card import licence_of
from trainer.models import model, tokenizer, weights
from trainer.models.vocabulary import rows
from trainer.say import Say
from trainer.survival import checkpoint

Kind = Literal["f16", "bf16", "q8_0"]
BLOCK = 32  # weights of a row that q8_0 stores with one scale
Sources = dict[str, Callable[[], Tensor]]


def export(path: Path, output: Path, kind: Kind, say: Say) -> None:
    """Write the model of a checkpoint to a new GGUF file; an adapter is merged into its base model.

    Matrices have the type `kind`, or f16 if q8_0 cannot store their rows; vectors are float32.

    Raises:
        UserError: there is no complete checkpoint, llama.cpp cannot run the model, or `output` already exists.
        RunError: the file cannot be written.
    """
    gguf = _gguf()
    folder = checkpoint.find(path, say)
    if output.exists():
        raise UserError(f"{output.absolute()} already exists. Choose a new file (--output).")
    config = model.read_config(folder)
    found = architecture(config)
    rope, tensors = rotary(config, found)
    keys, ignored = windows(config, found)
    text = tokenizer.load(None, folder)
    words = vocabulary(text, rows(config))
    dtype = weights.saved_dtype(
        model.weights_folder(folder)
    )  # in float32, a large model might not fit into memory
    merged = dtype if dtype == torch.float32 or kind == "bf16" else torch.float16
    network, notes = model.build_trained(config, folder, dtype, merged)
    for note in (*notes, *filter(None, [ignored])):
        say(f"WARNING: {note}")
    named = {f"{found.name}.{key}": value for key, value in (sizes(config) | rope | keys).items()}
    about: dict[str, Any] = {
        "general.name": model_name(path.absolute().name, text),
        "general.quantization_version": 2,
    }
    if licence := licence_of(folder):
        about["general.license"] = licence
    sources: Sources = {name: _constant(array) for name, array in tensors.items()}
    sources |= dict(_weights(network, found, gguf))
    try:
        with replacing(output) as new:
            _write(gguf, new, found.name, about | named | words, sources, kind)
    except OSError as error:
        raise RunError(f"{output.absolute()} could not be written: {error}.") from error


def _gguf() -> Any:
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise UserError(
            f"--gguf needs the package gguf, which is not installed. To install it:\n  {how_to_add('gguf')}"
        ) from error
    return gguf


def _constant(array: npt.NDArray[np.float32]) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(array)


def _weights(network: Any, found: Architecture, gguf: Any) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Every weight under llama.cpp's name. Tied output weights are left out: llama.cpp uses the embedding."""
    config = network.config
    names = gguf.get_tensor_name_map(
        next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == found.name),
        config.num_hidden_layers,
    )
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if name == "lm_head.weight" and tied:
            continue
        base, _, suffix = name.rpartition(".")
        target = names.get_name(base)
        if target is None:
            raise UserError(
                f"--gguf: llama.cpp's {found.name} has no weight like {name}, so it cannot run this model."
            )
        yield f"{target}.{suffix}", _converted(name, parameter, config, found)


def _converted(name: str, parameter: Tensor, config: Any, found: Architecture) -> Callable[[], Tensor]:
    layer = name.rpartition(".")[0]
    if found.norm_offset and layer.endswith("norm"):
        return lambda: parameter.detach().float() + found.norm_offset
    if found.interleaved and layer.endswith(("q_proj", "k_proj")):
        heads = config.num_attention_heads if layer.endswith("q_proj") else config.num_key_value_heads
        return lambda: interleave(parameter.detach(), heads)
    return lambda: parameter.detach()


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows of a query or key projection: from all first elements of the rotary pairs, then all second ones, to pairs."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def _write(gguf: Any, path: Path, name: str, metadata: dict[str, Any], sources: Sources, kind: Kind) -> None:
    """Write a file, one tensor after the other, so that a single one is in memory twice."""
    writer = gguf.GGUFWriter(path, name)
    file_types = {
        "f16": gguf.LlamaFileType.MOSTLY_F16,
        "bf16": gguf.LlamaFileType.MOSTLY_BF16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    }
    writer.add_file_type(int(file_types[kind]))
    for key, value in metadata.items():
        _add(writer, key, value)
    stored: dict[str, Any] = {}
    for target, source in sources.items():
        shape = tuple(source().shape)
        stored[target] = _type(gguf, shape, kind)
        size = gguf.quant_shape_to_byte_shape(shape, stored[target])
        writer.add_tensor_info(target, size, np.dtype(np.uint8), int(np.prod(size)), raw_dtype=stored[target])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for target, source in sources.items():
            writer.write_tensor_data(_quantized(gguf, target, source(), stored[target]))
    finally:
        writer.close()


def _type(gguf: Any, shape: tuple[int, ...], kind: Kind) -> Any:
    types = gguf.GGMLQuantizationType
    if len(shape) < 2:
        return types.F32
    if kind == "q8_0":
        return types.Q8_0 if shape[-1] % BLOCK == 0 else types.F16
    return types.F16 if kind == "f16" else types.BF16


def _quantized(gguf: Any, name: str, weight: Tensor, kind: Any) -> npt.NDArray[Any]:
    array = weight.float().contiguous().numpy()
    if kind == gguf.GGMLQuantizationType.F16 and np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise UserError(
            f"--gguf-type f16: {name} has weights beyond 65504, the largest number of float16. Use bf16."
        )
    quantized: npt.NDArray[Any] = gguf.quants.quantize(array, kind)
    return quantized


def _add(writer: Any, key: str, value: Any) -> None:
    """Add a key with the type that llama.cpp expects of it."""
    if key == "tokenizer.chat_template":
        writer.add_chat_template([{"name": name, "template": text} for name, text in value.items()])
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
