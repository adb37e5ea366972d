"""When a token has thought enough: pure functions of its Q-values.

After each segment the model estimates, for every position by itself, two probabilities: that its guess of the next
token is right (halt), and that it will be right when it halts later (continue). A position halts when the first is
higher. Its Q-values come from its own state, which has seen no later token; so neither has the decision, and neither
have the logits that it picks. A decision for a whole sequence, by its first position (as for the paper's puzzles, whose
attention looks both ways) or by a mean, would know either nothing of the text or too much of it.

Shapes: (B, S), one of everything for each position.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def halts(q_halt: Tensor, q_continue: Tensor) -> Tensor:
    """Where the model would stop by itself."""
    return q_halt > q_continue


def least_segments(like: Tensor, maximum: int, exploration: float) -> Tensor:
    """Segments that each position takes at least while training: 1, or with probability `exploration` any of 2 … maximum."""
    longer = torch.rand(like.shape, device=like.device) < exploration
    if maximum < 2:
        return torch.ones_like(longer, dtype=torch.long)
    drawn = torch.randint(2, maximum + 1, like.shape, device=like.device)
    return torch.where(longer, drawn, 1)


def continue_target(next_halt: Tensor, next_continue: Tensor, must_halt: bool) -> Tensor:
    """What going on is worth, by the Q-values of the next segment, after which one may have to halt: a probability."""
    best = next_halt if must_halt else torch.maximum(next_halt, next_continue)
    return best.sigmoid()


def weight_of(segment: int, maximum: int, halting: Tensor) -> Tensor:
    """Share of a segment, counted from 1, in a position's loss.

    The loss is the mean over all segments of how good the answer is that stands after each; the answer of a position that
    has halted stands for those that are left. So shares add up to 1 whenever a position halts.
    """
    return torch.where(halting, maximum - segment + 1, 1) / maximum


def q_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy in nats, of logits against probabilities."""
    return F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
