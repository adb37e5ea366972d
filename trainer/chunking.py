"""Chunked training as configured: its settings, what the model must support, and what has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from trainer.attention import carry_proof
from trainer.attention.pattern import Windows
from trainer.config import TrainConfig, TrainingSection
from trainer.errors import UserError
from trainer.learning.chunks import Chunked, ChunkSettings
from trainer.learning.objective import Objective
from trainer.learning.offload import Offloaded
from trainer.models import rope

NEEDS_CHUNKS = ("chunk_size", "chunk_gradients", "recompute_carries", "carry_tokens", "cpu_offload")


def as_configured(objective: Any, training: TrainingSection, device: torch.device) -> Objective:
    """The objective in chunks, and with offloaded activations, if configured."""
    found: Objective = objective
    if training.use_chunked_training:
        settings = ChunkSettings(
            size=training.chunk_tokens,
            gradients=training.chunk_gradients,
            recompute=training.recompute_carries,
            limit=training.carry_tokens,
            on_host=training.cpu_offload and device.type != "cpu",
        )
        found = Chunked(objective, settings)
    return Offloaded(found) if training.offload_activations and device.type != "cpu" else found


def check_positions(config: TrainConfig, model_config: Any) -> None:
    """Check that the positions of a chunk do not depend on the length of the sequence.

    Raises:
        UserError: they do.
    """
    length = config.data.max_length
    if not config.training.use_chunked_training or length <= config.training.chunk_tokens:
        return
    if rope.frequencies(model_config, length) != rope.frequencies(model_config, 1):
        raise UserError(
            f"training.use_chunked_training: the rotary embedding of this {model_config.model_type} model depends on the "
            f"length of the sequence from data.max_length = {length} on, so chunks would be computed with other frequencies "
            "than the whole sequence. Use a shorter data.max_length (--max-length), or train without chunks "
            "(--no-use-chunked-training)."
        )


def check_model(network: Any) -> None:
    """Prove that a built model computes the same in chunks.

    Raises:
        UserError: it does not.
    """
    if failure := carry_proof.prove(network):
        raise UserError(
            f"training.use_chunked_training: this {network.config.model_type} model cannot be trained in chunks: {failure}. "
            "Train without them (--no-use-chunked-training)."
        )


def warnings(config: TrainConfig, windows: Windows, device: torch.device) -> Iterator[str]:
    """Settings that have no effect, and a context that is cut.

    Args:
        windows: the window of each layer.
    """
    training, length = config.training, config.data.max_length
    if training.offload_activations and device.type == "cpu":
        yield "training.offload_activations has no effect on a CPU: activations are in the host's memory already."
    if not training.use_chunked_training:
        given = [key for key in NEEDS_CHUNKS if key in training.model_fields_set]
        changed = [key for key in given if getattr(training, key) != type(training).model_fields[key].default]
        for key in changed:
            yield f"training.{key} has no effect without training.use_chunked_training (--use-chunked-training)."
        return
    if length <= training.chunk_tokens:
        yield (
            f"training.use_chunked_training has no effect: a sequence of data.max_length = {length} tokens is one chunk of "
            f"training.chunk_size = {training.chunk_size}."
        )
        return
    if training.recompute_carries and training.chunk_gradients == "truncated":
        yield "training.recompute_carries has no effect with training.chunk_gradients = truncated, which keeps no carries."
    if training.cpu_offload and device.type == "cpu":
        yield "training.cpu_offload has no effect on a CPU: carries are in the host's memory already."
    limit = training.carry_tokens
    if limit is not None and limit < length - training.chunk_tokens and None in windows:
        yield (
            f"training.carry_tokens = {limit} cuts the context: in layers without a window a token sees its own chunk and "
            f"{limit} tokens before it, of {length}."
        )
