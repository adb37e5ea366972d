"""The layers of HRM: attention and a gated feed-forward network, each followed by a norm without parameters.

Shapes: B sequences of S tokens, hidden size D, H heads of size K.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from trainer.hrm.configuration import HRMConfig

CheckpointingLayer: Any = GradientCheckpointingLayer
Rotation = tuple[Tensor, Tensor]  # cosines and sines, (B or 1, S, K)


class Attention(nn.Module):
    """Causal self-attention by the implementation that the configuration names."""

    is_causal = True
    num_key_value_groups = 1

    def __init__(self, config: HRMConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(4)
        )

    def forward(
        self,
        hidden: Tensor,
        rotation: Rotation | None,
        attention_mask: Tensor | None,
        cache: Cache | None,
        slot: int,
        **others: Any,
    ) -> Tensor:
        """(B, S, D) to (B, S, D). `slot` is the cache entry for this run of the layer."""
        heads = (*hidden.shape[:2], self.config.num_attention_heads, self.config.head_dim)
        q, k, v = (
            project(hidden).view(heads).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if cache is not None:
            k, v = cache.update(k, v, slot)
        run = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        output, _ = run(
            self,
            q,
            k,
            v,
            attention_mask,
            dropout=0.0,
            scaling=self.config.head_dim**-0.5,
            carry_entry=slot,
            **others,
        )
        mixed: Tensor = self.o_proj(output.reshape(hidden.shape))
        return mixed


class SwiGLU(nn.Module):
    """A gated feed-forward network (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return output


class HRMBlock(CheckpointingLayer):  # type: ignore[misc]
    """One layer. The norm follows each residual sum, so states keep their scale however often layers run."""

    def __init__(self, config: HRMConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, layer_idx)
        self.mlp = SwiGLU(config)
        self.epsilon = config.rms_norm_eps

    def forward(self, hidden: Tensor, **how: Any) -> Tensor:
        hidden = rms_norm(hidden + self.self_attn(hidden, **how), self.epsilon)
        return rms_norm(hidden + self.mlp(hidden), self.epsilon)


class ReasoningModule(nn.Module):
    """H or L: layers that are applied to the sum of a state and an input."""

    def __init__(self, config: HRMConfig, first: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(HRMBlock(config, first + index) for index in range(count))

    def forward(self, state: Tensor, injected: Tensor, slot: int, **how: Any) -> Tensor:
        """The new state (B, S, D). The layers use the cache entries from `slot` on."""
        hidden = state + injected
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, slot=slot + index, **how)
        return hidden


def rms_norm(hidden: Tensor, epsilon: float) -> Tensor:
    """Scale to a root mean square of 1, in at least float32."""
    exact = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return (exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + epsilon)).to(hidden.dtype)


def rotation_of(positions: Tensor, width: int, theta: float, dtype: torch.dtype) -> Rotation:
    """Rotary position embedding (arXiv 2104.09864): cosines and sines for heads of this width at positions (1, S)."""
    frequencies = theta ** -(torch.arange(0, width, 2, device=positions.device).float() / width)
    angles = (positions[..., None].float() * frequencies).repeat(1, 1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate heads (B, H, S, K): each pair of elements K/2 apart, by its angle."""
    first, second = heads.chunk(2, dim=-1)
    rotated = torch.cat((-second, first), dim=-1)
    return (heads * cosines[:, None] + rotated * sines[:, None]).to(heads.dtype)
