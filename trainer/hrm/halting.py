"""Halting: pure functions of the Q-values of each position.

After each segment the model estimates two probabilities for every position separately: that its prediction of the next
token is correct (halt), and that it will be correct when it halts later (continue). A position halts when the first is
higher. Its Q-values come from its own state, which has seen no later token, so neither the decision nor the logits that
it selects depend on later tokens. A decision for the whole sequence would depend on nothing of the text if the first
position made it (as in the paper's puzzles, whose attention is bidirectional), and on later tokens if the mean did.

Shapes: (B, S), one value for each position.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def halts(q_halt: Tensor, q_continue: Tensor) -> Tensor:
    """The positions that halt."""
    return q_halt > q_continue


def minimum_segments(like: Tensor, maximum: int, exploration: float) -> Tensor:
    """Fewest segments of each position in training: 1, or with probability `exploration` uniform in 2 … maximum."""
    longer = torch.rand(like.shape, device=like.device) < exploration
    if maximum < 2:
        return torch.ones_like(longer, dtype=torch.long)
    drawn = torch.randint(2, maximum + 1, like.shape, device=like.device)
    return torch.where(longer, drawn, 1)


def continue_target(next_halt: Tensor, next_continue: Tensor, must_halt: bool) -> Tensor:
    """The target of q_continue, a probability: the best Q-value of the next segment, where a position may have to halt."""
    best = next_halt if must_halt else torch.maximum(next_halt, next_continue)
    return best.sigmoid()


def weight_of(segment: int, maximum: int, halting: Tensor) -> Tensor:
    """Weight of a segment, counted from 1, in a position's loss.

    The loss is the mean over all segments of the loss of the current answer; a position that has halted keeps its answer
    for the remaining segments. So weights sum to 1 whenever a position halts.
    """
    return torch.where(halting, maximum - segment + 1, 1) / maximum


def q_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of logits and target probabilities, in nats."""
    return F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
