"""Does HRM ACT v1 gain from thinking in several segments? Trains it with one and with more, on a task that takes steps.

    python scripts/compare_segments.py                # a table, as in docs/hrm.md
    python scripts/compare_segments.py --seeds 1 --steps 300

The task: a sequence of moves, each a permutation of three things; after every move, say how they lie now. What a token sees
is itself and the one before it, in every layer, so the order must be handed on from token to token. Nothing can be looked
up, and the answers are not in the input. All models have the same weights at first, see the same moves in the same order, and
take the same number of steps. "1, long" is a single segment with as many runs of both modules as all segments have together.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.attention import huggingface
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.hrm.configuration import HRMConfig
from trainer.hrm.model import HRMForCausalLM
from trainer.learning.deep_supervision import DeepSupervision

THINGS = 3
ORDERS = list(itertools.permutations(range(THINGS)))
START = len(ORDERS)  # a token of its own, before the first move
AFTER = torch.tensor(
    [[ORDERS.index(tuple(order[i] for i in move)) for move in ORDERS] for order in ORDERS]
)  # (order, move) → order
ROWS, RATE, WARMUP = 64, 3e-3, 50


@dataclass(frozen=True)
class Model:
    """A kind of model: its name in the table, its segments, and the cycles of each."""

    name: str
    segments: int
    cycles: int


@dataclass(frozen=True)
class Result:
    """Share of right answers over all moves, and after the last; segments used; seconds of training."""

    right: float
    right_at_last: float
    used: float
    seconds: float


def moves(count: int, rows: int, generator: torch.Generator) -> Batch:
    """Rows of `count` random moves; the targets are the orders that they lead to."""
    tokens = torch.randint(0, len(ORDERS), (rows, count), generator=generator)
    order, orders = torch.zeros(rows, dtype=torch.long), []
    for move in tokens.unbind(1):
        order = AFTER[order, move]
        orders.append(order)
    first = torch.full((rows, 1), START)
    return Batch(
        torch.cat([first, tokens], 1), torch.stack([torch.full_like(order, IGNORED), *orders], 1), None
    )


def train(kind: Model, seed: int, count: int, steps: int, window: int | None) -> Result:
    config = HRMConfig(
        vocab_size=len(ORDERS) + 1,
        hidden_size=32,
        num_attention_heads=4,
        expansion=4.0,
        h_layers=1,
        l_layers=1,
        h_cycles=kind.cycles,
        l_cycles=1,
        halt_max_steps=kind.segments,
    )
    huggingface.attach(config, window=window)
    torch.manual_seed(seed)
    network = HRMForCausalLM(config).train()
    objective = DeepSupervision(network, Precision(torch.float32))
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    generator, began = torch.Generator().manual_seed(1000 + seed), time.perf_counter()
    for step in range(1, steps + 1):
        batch = moves(count, ROWS, generator)
        for part in objective.parts(batch):
            torch.autograd.backward(part.loss / batch.valid_tokens())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimizer.param_groups:  # up, along, and down in the second half
            group["lr"] = RATE * min(1, step / WARMUP, max(0.05, 2 - 2 * step / steps))
        optimizer.step()
        optimizer.zero_grad()
    return examine(network.eval(), count, time.perf_counter() - began)


@torch.no_grad()
def examine(network: HRMForCausalLM, count: int, seconds: float) -> Result:
    test = moves(count, 1000, torch.Generator().manual_seed(1))
    found = network(input_ids=test.tokens)
    right: Tensor = (found.logits.argmax(-1) == test.targets)[:, 1:].float()
    used = found.used_segments[:, 1:].float().mean().item()
    return Result(right.mean().item(), right[:, -1].mean().item(), used, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--segments", type=int, default=4, help="of the model that has several")
    parser.add_argument("--moves", type=int, default=8, help="in a sequence")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=3, help="models of each kind")
    parser.add_argument("--window", type=int, default=2, help="tokens that a token sees; 0 for all before it")
    told = parser.parse_args()
    torch.set_num_threads(1)
    kinds = (
        Model("1", 1, 1),
        Model("1, long", 1, told.segments),
        Model(str(told.segments), told.segments, 1),
    )
    tell(f"{told.moves} moves, {told.steps} steps of {ROWS} sequences, window {told.window or 'none'}")
    tell("segments  right, of all moves        after the last move        used  seconds")
    for kind in kinds:
        found = [train(kind, seed, told.moves, told.steps, told.window or None) for seed in range(told.seeds)]
        right, last = ([getattr(r, name) for r in found] for name in ("right", "right_at_last"))
        used, seconds = (statistics.mean(getattr(r, name) for r in found) for name in ("used", "seconds"))
        tell(f"{kind.name:8}  {_spread(right):25}  {_spread(last):25}  {used:4.2f}  {seconds:7.0f}")
    tell(f"by chance {1 / len(ORDERS):.3f}")


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
