"""The attention backend that a run would use, from its configuration and what was proven on this machine."""

from __future__ import annotations

import copy
from typing import Any

import torch

from doctor.capability import Capability, current_fingerprint, default_path, read, stale
from trainer.attention.choice import Decision, decide
from trainer.config import TrainConfig
from trainer.device import choose_precision
from trainer.models import model_attention


def planned_attention(config: TrainConfig, model_config: Any, device: torch.device) -> Decision:
    """The decision that a run on this machine would make. Proves nothing: a run proves the backends first if needed.

    Reads no data: with data.packing, a sequence is assumed to have several documents.

    Raises:
        UserError: the model cannot be used.
    """
    model_config = copy.deepcopy(model_config)
    request = model_attention.attention_request(
        model_config,
        device,
        choose_precision(device, config.training.amp),
        model_attention.requested_windows(config.model, model_config),
        config.data.packing,
        training=True,
    )
    return decide(config.requested_backend, request, _proven())


def _proven() -> Capability | None:
    """What the capability file says; None if there is none, or it is out of date."""
    known = read(default_path())
    if isinstance(known, Capability) and stale(known, current_fingerprint()) is None:
        return known
    return None
