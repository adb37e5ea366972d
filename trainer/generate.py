"""Sampling text from a model, with a key-value cache that holds no more than the model's windows reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doctor.capability import Capability
from trainer.attention.pattern import trained_windows
from trainer.device import choose_device, choose_precision
from trainer.errors import UserError
from trainer.models import model, tokenizer
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
    """The model and tokenizer of a checkpoint, ready to sample from, with the windows it was trained with.

    Args:
        amp: compute in the 16-bit type that the device has, as `choose_precision` does; the weights are rounded to it.
        strict: let no other backend stand in for the one that was named.

    Raises:
        UserError: there is no whole checkpoint, no such device, or not the backend that must be.
    """
    folder = checkpoint.find(path, say)
    device = choose_device(device_name)
    config = model.read_config(folder)
    text = tokenizer.load(None, folder)
    model.check(config, text, max_length=1)
    if not model.has_weights(model.weights_of(folder)):
        raise UserError(f"{folder.absolute()} holds a model configuration and no weights: train it first.")
    windows, precision = trained_windows(config), choose_precision(device, amp)
    if precision.note:
        say(f"WARNING: {precision.note}")
    request = model.attention_request(config, device, precision, windows, packed=False, training=False)
    model.attach_attention(config, request, windows, backend=backend, proven=proven, strict=strict, say=say)
    network, notes = model.build_trained(config, folder)
    for note in notes:
        say(f"WARNING: {note}")
    return network.to(device, precision.dtype).eval(), text
