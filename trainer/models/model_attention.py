"""The attention of a model: its windows, the calls that it makes, and the backend that serves them."""

from __future__ import annotations

from typing import Any

import torch

from doctor.capability import Capability
from trainer.attention import huggingface, pattern, sdpa
from trainer.attention.call_trace import TracedCall
from trainer.attention.choice import Decision, decide
from trainer.attention.request import AttentionRequest
from trainer.config import ModelSection
from trainer.device import Precision
from trainer.errors import UserError
from trainer.models import trial
from trainer.say import Say


def requested_windows(settings: ModelSection, config: Any) -> pattern.Windows:
    """The window of each layer by the settings; if they name no window, those that the model was trained with.

    Raises:
        UserError: the pattern does not fit this model.
    """
    if settings.window is None and settings.window_pattern is None:
        return pattern.trained_windows(config)
    layers = config.get_text_config().num_hidden_layers
    try:
        return pattern.repeat(
            layers,
            settings.window,
            settings.window_pattern or pattern.SLIDING,
            settings.full_layers or (),
        )
    except ValueError as error:
        raise UserError(f"model.window_pattern, model.full_layers: {error}.") from None


def attention_request(
    config: Any,
    device: torch.device,
    precision: Precision,
    windows: pattern.Windows,
    packed: bool,
    training: bool,
    calls: tuple[TracedCall, ...] | None = None,
) -> AttentionRequest:
    """The attention calls that this model will make, with these windows in addition to its own.

    Where layers differ, it is the largest of each figure: a backend must serve all layers.

    Args:
        calls: from `trial.try_out`; None to try the model out now.

    Raises:
        UserError: the model cannot be used; see `trial.try_out`.
    """
    calls = trial.try_out(config, windows) if calls is None else calls
    calls = calls or (_configured_call(config),)
    text = config.get_text_config()
    dropout = getattr(text, "attn_pdrop", getattr(text, "attention_dropout", 0.0))
    grouped = max(calls, key=lambda call: call.query_heads / call.key_heads)
    return AttentionRequest(
        device=str(device),
        dtype=precision.name,
        head_dim=max(call.head_dim for call in calls),
        query_heads=grouped.query_heads,
        key_heads=grouped.key_heads,
        window=pattern.smallest(*windows, *pattern.own_windows(config)),
        packed=packed,
        dropout=dropout if training else 0.0,
        softcap=any(call.softcap for call in calls) or bool(getattr(text, "attn_logit_softcapping", None)),
        training=training,
    )


def _configured_call(config: Any) -> TracedCall:
    """What a configuration says about its attention, for models that cannot be called without data.

    Raises:
        UserError: it says nothing about heads.
    """
    text = config.get_text_config()
    try:
        heads = text.num_attention_heads
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
        key_heads = getattr(text, "num_key_value_heads", None) or heads
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"A model of the type {config.model_type} cannot be used here: its configuration does not say how many attention "
            f"heads it has. {trial.CHOOSE}"
        ) from error
    return TracedCall(None, heads, key_heads, head_dim, heads * head_dim)


def attach_attention(
    config: Any,
    request: AttentionRequest,
    windows: pattern.Windows,
    *,
    backend: str,
    proven: Capability | None,
    strict: bool,
    say: Say,
) -> Decision:
    """Set the attention backend of models of this configuration: the first that was proven here and serves the request.

    Args:
        backend: the first one to try, or auto.
        strict: do not fall back to another backend than the one named.
        say: prints which backend was chosen, and why.

    Raises:
        UserError: strict and the backend cannot be used, or the model attends in a way that no backend supports.
    """
    decision = decide(backend, request, proven)
    for line in decision.log_lines():
        say(line)
    if strict and decision.fell_back:
        raise UserError(
            f"--strict: the attention backend {decision.requested} cannot be used; see the reasons above."
        )
    sdpa.use_proven((proven.backends["sdpa"].implementations or None) if proven else None)
    with trial.refusals(config):
        huggingface.attach(config, backend=decision.backend, window=windows)
    return decision
