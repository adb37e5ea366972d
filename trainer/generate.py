"""Load a checkpoint to sample text from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doctor.capability import Capability
from trainer.attention.pattern import trained_windows
from trainer.device import choose_device, choose_precision
from trainer.models import lora, model, model_attention, quantization, tokenizer, vocabulary, weights
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say
from trainer.survival import checkpoint


def load(
    path: Path,
    device_name: str,
    backend: str,
    proven: Capability | None,
    say: Say,
    *,
    amp: bool = False,
    strict: bool = False,
) -> tuple[Any, Tokenizer]:
    """The model and tokenizer of a checkpoint, ready for sampling, with the windows that it was trained with.

    Args:
        amp: compute in the device's 16-bit type, see `choose_precision`; the weights are rounded to it.
        strict: do not fall back to another attention backend than the one named.

    Raises:
        UserError: there is no complete checkpoint, no such device, or strict and the backend cannot be used.
    """
    folder = checkpoint.find(path, say)
    device = choose_device(device_name)
    config = model.read_config(folder)
    text = tokenizer.load(None, folder)
    vocabulary.check(config, text, [], "The tokenizer's set of special tokens")
    weights.check(model.weights_folder(folder))
    windows, precision = trained_windows(config), choose_precision(device, amp)
    if precision.note:
        say(f"WARNING: {precision.note}")
    request = model_attention.attention_request(
        config, device, precision, windows, packed=False, training=False
    )
    model_attention.attach_attention(
        config, request, windows, backend=backend, proven=proven, strict=strict, say=say
    )
    network: Any
    bits = getattr(config, "aios_weight_bits", None)
    if bits and lora.is_adapter(folder):  # trained beside quantized weights
        quantization.prove(bits, device, precision.dtype)
        base = model.weights_folder(folder)
        network, notes = model.build_quantized(config, base, 0, precision.dtype, bits, device)
        lora.load(network, folder)
    else:
        built, notes = model.build_trained(config, folder, precision.dtype)
        network = built.to(device, precision.dtype)
    for note in notes:
        say(f"WARNING: {note}")
    return network.eval(), text
