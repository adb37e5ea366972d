"""A first call of a model, before data is read: whether it runs on our attention at all, and how it calls it."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from trainer.attention import huggingface
from trainer.attention.call_trace import TracedCall, traced
from trainer.attention.pattern import Windows
from trainer.errors import UserError
from trainer.models.fake_model import DataFree, fake_tensors

CausalLM: Any = AutoModelForCausalLM
SERVED = "gpt2, llama, mistral, mixtral, qwen2, qwen3, gemma2, gemma3_text, phi3, olmo2, granite, deepseek_v3"
CHOOSE = f"Choose a model of another type, for example {SERVED}."
ARCHITECTURE = "architecture"  # the source of a model that is built without weights
# What a quantized model's `quant_method` means to a user.
QUANTIZED = {
    "bitsandbytes": "bitsandbytes (4 or 8 bits)",
    "gptq": "GPTQ",
    "awq": "AWQ",
    "mxfp4": "MXFP4 (4 bits)",
    "compressed-tensors": "compressed-tensors",
}
DEQUANTIZED = "fp8"  # transformers converts these weights when it loads them
LAYERS = re.compile(r"^(n|num)_?(hidden_|decoder_|encoder_)?layers?$")
MOST_LAYERS = 10_000


def check_quantization(config: Any) -> None:
    """Check that the weights are plain numbers, or are converted to such when they are loaded.

    Raises:
        UserError: they are quantized.
    """
    settings = getattr(config, "quantization_config", None)
    settings = settings or getattr(config.get_text_config(), "quantization_config", None)
    if settings is None:
        return
    values = settings if isinstance(settings, dict) else settings.to_dict()
    method = str(getattr(values.get("quant_method"), "value", values.get("quant_method")))
    if method == DEQUANTIZED:
        return
    raise UserError(
        f"The weights of this {config.model_type} model are quantized: {QUANTIZED.get(method, method)}. Quantized weights can "
        "be neither trained nor merged with an adapter here. Use the model that it was made from, with weights in float32, "
        "bfloat16 or float16; --use-peft --load-in-4bit quantizes those itself."
    )


def check_text_model(config: Any) -> None:
    """Check that a configuration describes one text model.

    Raises:
        UserError: it describes several, as for some audio models, or has no vocab_size.
    """
    try:
        tokens = getattr(config.get_text_config(), "vocab_size", None)
    except ValueError as error:
        raise UserError(
            f"A model of the type {config.model_type} cannot be used here: it consists of several text models. {CHOOSE}"
        ) from error
    if not isinstance(tokens, int):
        raise UserError(
            f"A model of the type {config.model_type} cannot be used here: its configuration has no vocab_size. "
            f"{CHOOSE}"
        )


def check_layers(values: Any, where: str) -> None:
    """Check the number of layers in a configuration, before transformers makes a list of them.

    Raises:
        UserError: more than any model has, so that building it would not end.
    """
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            check_layers(value, where)
        elif LAYERS.search(key) and isinstance(value, int) and value > MOST_LAYERS:
            raise UserError(f"{where}: {key} = {value}. At most {MOST_LAYERS:,} layers are supported.")


def dequantized(config: Any) -> Any:
    """The configuration, with fp8 weights converted to plain numbers when they are loaded, on every device."""
    settings = getattr(config, "quantization_config", None)
    if isinstance(settings, dict):
        config.quantization_config = settings | {"dequantize": True}
    return config


def try_out(config: Any, windows: Windows) -> tuple[TracedCall, ...]:
    """Call a model of this configuration on two tokens, on fake tensors; returns its calls of `attention`.

    Empty if the model cannot be called without data: whether it runs is then seen when it has been built.

    Args:
        config: attention is attached to it.
        windows: of the layers, in addition to the model's own.

    Raises:
        UserError: the model cannot be trained here.
    """
    check_quantization(config)
    with refusals(config):
        huggingface.attach(config, backend="manual", window=windows)
        try:
            with fake_tensors(DataFree()), traced() as trace, torch.no_grad():  # type: ignore[no-untyped-call]
                with build_errors(ARCHITECTURE):
                    model = CausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False).eval()
                model(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=False)
        except (RuntimeError, NotImplementedError):
            return ()  # what fake tensors do not support; torch's errors about that have no class of their own
        if not trace.calls:
            raise ValueError("it has no attention layers that a backend could compute")
    return tuple(trace.calls)


@contextmanager
def refusals(config: Any) -> Iterator[None]:
    """While entered, any error of a model becomes a sentence. This is the boundary to the code of transformers.

    Raises:
        UserError: naming the model type, the cause, and model types that work.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        cause = first_line(error).rstrip(".")
        if isinstance(error, (AttributeError, KeyError, TypeError, IndexError)):
            cause = f"it fails in the code of transformers with {type(error).__name__}: {cause}"
        raise UserError(
            f"A model of the type {config.model_type} cannot be used here: {cause}. {CHOOSE}"
        ) from error


@contextmanager
def build_errors(source: str) -> Iterator[None]:
    """While entered, any error of transformers, or of the files that it reads, is one sentence for the user."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"No causal language model could be built from the {source}: the weights are a pickle file (.bin) with more in it "
            "than tensors, and it was not run. Convert it to safetensors where it comes from, or use a copy with "
            "model.safetensors."
        ) from error
    except Exception as error:  # transformers raises many types, for example NotImplementedError and KeyError
        advice = f". {CHOOSE}" if source == ARCHITECTURE else ""
        raise UserError(
            f"No causal language model could be built from the {source}: {first_line(error).rstrip('.')}{advice}"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message; the first two if the first ends with a colon."""
    lines = [line.strip() for line in str(error).strip().split("\n")]
    incomplete = len(lines) > 1 and lines[0].endswith(":")
    return " ".join(lines[: 2 if incomplete else 1]) or type(error).__name__
