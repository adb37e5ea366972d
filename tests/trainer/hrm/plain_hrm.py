"""A second HRM ACT v1, in float64, written from the paper: dense attention, one position at a time, no shared code.

Weights come from a model's state dict. N segments, tokens (S,) of one sequence.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def weights_of(network: Any) -> Weights:
    """The weights as new leaves, so that gradients can be compared."""
    return {
        name: tensor.detach().double().requires_grad_(name in dict(network.named_parameters()))
        for name, tensor in network.state_dict().items()
    }


def norm(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def rotated(x: Tensor, position: int) -> Tensor:
    """Rotate one head's vector by its position: elements half a width apart form a complex number."""
    half = len(x) // 2
    angles = torch.tensor([position / 10000 ** (2 * i / len(x)) for i in range(half)], dtype=torch.float64)
    pairs = torch.complex(x[:half], x[half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([pairs.real, pairs.imag])


def attend(w: Weights, at: str, x: Tensor, heads: int, window: int | None) -> Tensor:
    q, k, v = (x @ w[f"{at}.{name}_proj.weight"].T for name in "qkv")
    width = x.shape[1] // heads
    rows = []
    for t in range(len(x)):
        first = 0 if window is None else max(0, t - window + 1)
        parts = []
        for h in range(heads):
            cut = slice(h * width, (h + 1) * width)
            keys = torch.stack([rotated(k[s, cut], s) for s in range(first, t + 1)])
            scores = keys @ rotated(q[t, cut], t) / math.sqrt(width)
            parts.append(scores.softmax(0) @ v[first : t + 1, cut])
        rows.append(torch.cat(parts))
    return torch.stack(rows) @ w[f"{at}.o_proj.weight"].T


def module(w: Weights, name: str, config: Any, x: Tensor, window: int | None) -> Tensor:
    for layer in range(config.l_layers if name == "l" else config.h_layers):
        at = f"model.{name}_module.layers.{layer}"
        x = norm(x + attend(w, f"{at}.self_attn", x, config.num_attention_heads, window))
        gate, up, down = (w[f"{at}.mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
        x = norm(x + (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T)
    return x


def segment(
    w: Weights, config: Any, tokens: Tensor, z_h: Tensor, z_l: Tensor, window: int | None
) -> tuple[Tensor, Tensor]:
    """Run a segment on states (S, D); only the last run of each module has a gradient."""
    x = w["model.embed_tokens.weight"][tokens] * math.sqrt(config.hidden_size)
    for h in range(config.h_cycles):
        for low in range(config.l_cycles):
            last = (h, low) == (config.h_cycles - 1, config.l_cycles - 1)
            z_l = module(w, "l", config, z_l + z_h + x, window)
            z_l = z_l if last else z_l.detach()
        z_h = module(w, "h", config, z_h + z_l, window)
        z_h = z_h if last else z_h.detach()
    return z_h, z_l


def segments(
    w: Weights, config: Any, tokens: Tensor, window: int | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each segment: logits (S, V), and the Q-values (S,) of halting and of continuing."""
    z_h, z_l = (w[f"model.{name}"].expand(len(tokens), -1) for name in ("z_h", "z_l"))
    found = []
    for _ in range(config.halt_max_steps):
        z_h, z_l = segment(w, config, tokens, z_h.detach(), z_l.detach(), window)
        q = z_h @ w["q_head.weight"].T + w["q_head.bias"]
        found.append((z_h @ w["lm_head.weight"].T, q[:, 0], q[:, 1]))
    return found
