"""Compare HRM ACT v1 with one segment and with several, on a task that needs several steps of reasoning.

    python scripts/compare_segments.py                # the table in docs/hrm.md
    python scripts/compare_segments.py --seeds 1 --steps 300

The task: a sequence of moves, each a permutation of three things. After each move, predict the current order. In every
layer a token attends only to itself and the token before it, so the order must be passed on from token to token. The
answers are not in the input. All models start from the same weights, see the same moves in the same order and take the
same number of steps. "1, long" is a single segment that runs both modules as often as all segments together.
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
START = len(ORDERS)  # the token before the first move
AFTER = torch.tensor(
    [[ORDERS.index(tuple(order[i] for i in move)) for move in ORDERS] for order in ORDERS]
)  # (order, move) → order
ROWS, RATE, WARMUP = 64, 3e-3, 50


@dataclass(frozen=True)
class Model:
    """A kind of model: its name in the table, its number of segments, and the cycles of each segment."""

    name: str
    segments: int
    cycles: int


@dataclass(frozen=True)
class Result:
    """Share of correct answers after all moves and after the last; mean number of segments used; seconds of training."""

    correct: float
    correct_at_last: float
    used: float
    seconds: float


def moves(count: int, rows: int, generator: torch.Generator) -> Batch:
    """Return rows of `count` random moves. The targets are the resulting orders."""
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
        for group in optimizer.param_groups:  # warmup, constant, and linear decay in the second half
            group["lr"] = RATE * min(1, step / WARMUP, max(0.05, 2 - 2 * step / steps))
        optimizer.step()
        optimizer.zero_grad()
    return evaluate(network.eval(), count, time.perf_counter() - began)


@torch.no_grad()
def evaluate(network: HRMForCausalLM, count: int, seconds: float) -> Result:
    test = moves(count, 1000, torch.Generator().manual_seed(1))
    found = network(input_ids=test.tokens)
    correct: Tensor = (found.logits.argmax(-1) == test.targets)[:, 1:].float()
    used = found.used_segments[:, 1:].float().mean().item()
    return Result(correct.mean().item(), correct[:, -1].mean().item(), used, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--segments", type=int, default=4, help="of the model with several segments")
    parser.add_argument("--moves", type=int, default=8, help="in a sequence")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=3, help="models of each kind")
    parser.add_argument(
        "--window", type=int, default=2, help="attention window in tokens; 0: all tokens before"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = (
        Model("1", 1, 1),
        Model("1, long", 1, options.segments),
        Model(str(options.segments), options.segments, 1),
    )
    say(
        f"{options.moves} moves, {options.steps} steps of {ROWS} sequences, window {options.window or 'none'}"
    )
    say("segments  correct, all moves         correct, last move         used  seconds")
    for kind in kinds:
        found = [
            train(kind, seed, options.moves, options.steps, options.window or None)
            for seed in range(options.seeds)
        ]
        correct, last = ([getattr(r, name) for r in found] for name in ("correct", "correct_at_last"))
        used, seconds = (statistics.mean(getattr(r, name) for r in found) for name in ("used", "seconds"))
        say(f"{kind.name:8}  {_spread(correct):25}  {_spread(last):25}  {used:4.2f}  {seconds:7.0f}")
    say(f"by chance {1 / len(ORDERS):.3f}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
