"""How a window limits what a model can learn: the loss of a copy task against the distance to the token that it needs.

A GPT-2 of 2 layers and width 64 learns to repeat the token that was a fixed distance before (16 symbols, sequences of 64).
A loss of ln 16 = 2.77 is a guess. With L layers a token reaches L (W - 1) tokens back, if each layer passes on what it saw.

    python scripts/window_quality.py
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from trainer.attention import huggingface
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.learning.objective import NextToken

SYMBOLS, LENGTH, ROWS = 16, 64, 16


def rows(generator: torch.Generator, distance: int) -> Batch:
    """Random tokens; the target is the token `distance` before, where there is one."""
    tokens = torch.randint(0, SYMBOLS, (ROWS, LENGTH), generator=generator)
    targets = torch.full_like(tokens, IGNORED)
    targets[:, distance:] = tokens[:, : LENGTH - distance]
    return Batch(tokens, targets, None)


def loss(window: int | None, distance: int, steps: int) -> float:
    """The loss on new sequences after training."""
    torch.manual_seed(0)
    settings: dict[str, Any] = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0) | {
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    config = GPT2Config(vocab_size=SYMBOLS, n_layer=2, n_head=2, n_embd=64, n_positions=LENGTH, **settings)
    huggingface.attach(config, window=window)
    network: Any = GPT2LMHeadModel(config).train()
    objective = NextToken(network, Precision(torch.float32))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        drawn = rows(generator, distance)
        for part in objective.parts(drawn):
            torch.autograd.backward(part.loss / drawn.valid_tokens())
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    with torch.no_grad():
        score = objective.score(rows(torch.Generator().manual_seed(2), distance))
    return score.nats / score.valid


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--distances", default="2,6,12,24,40")
    options = parser.parse_args()
    torch.set_num_threads(1)
    distances = [int(number) for number in options.distances.split(",")]
    say(f"| window | {' | '.join(f'{distance} back' for distance in distances)} |")
    say("|---|" + "---|" * len(distances))
    for window in (None, 16, 8):
        cells = [f"{loss(window, distance, options.steps):.2f}" for distance in distances]
        say(f"| {window or 'none'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
