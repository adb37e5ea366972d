"""Compare text generation with transformers' `generate`: the time until the first token, and of each further one.

Both programs get the same weights and prompts, choose the most likely token, and run in turn in one process, so that other
load on the machine affects both equally. Ratios are medians over rounds. CPU time is that of all threads of the process.

    python scripts/bench_generate.py --prompts 16 512 4096 --windows 0 512 --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from trainer.attention import huggingface
from trainer.models.generation import generate
from trainer.models.sampling import Sampling

LAYERS, WIDTH, HEADS, VOCABULARY = 6, 384, 6, 50257
Program = Callable[[list[int], int], Iterator[int]]  # of a prompt and the number of new tokens


@dataclass(frozen=True)
class Times:
    """Seconds until the first token and of each further one, on the clock and of the CPU; and the tokens."""

    first: float
    later: float
    cpu_first: float
    cpu_later: float
    tokens: tuple[int, ...]


def language_model(window: int, positions: int, ours: bool) -> Any:
    """Return a Mistral model with random weights, always the same, on our attention or on torch's."""
    config = AutoConfig.for_model(
        "mistral",
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=positions,
        sliding_window=window or None,
        bos_token_id=None,
        eos_token_id=None,
        initializer_range=0.1,
    )
    if ours:
        huggingface.attach(config, backend="sdpa")
    torch.manual_seed(0)
    implementation = {} if ours else {"attn_implementation": "sdpa"}
    make: Any = AutoModelForCausalLM.from_config  # it has no type annotations
    return make(config, dtype=torch.float32, **implementation).eval()


class _Clock(BaseStreamer):
    """Notes when transformers has chosen each token. The first call brings the prompt."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def put(self, value: Any) -> None:
        self.marks.append(now())

    def end(self) -> None:
        pass


def now() -> tuple[float, float]:
    """The clock, and the CPU time of this process."""
    return time.perf_counter(), time.process_time()


def ours(model: Any, prompt: list[int], count: int) -> Times:
    """Generate with our loop."""
    began, marks, tokens = now(), [], []
    for token in generate(model, prompt, Sampling(count, temperature=0), end_id=-1, vocab_size=VOCABULARY):
        marks.append(now())
        tokens.append(token)
    return _times(began, marks, tokens)


def transformers(model: Any, prompt: list[int], count: int) -> Times:
    """Generate with transformers' method."""
    clock, began = _Clock(), now()
    tokens = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=count,
        do_sample=False,
        streamer=clock,
    )
    return _times(began, clock.marks[1:], tokens[0, len(prompt) :].tolist())


def _times(began: tuple[float, float], marks: list[tuple[float, float]], tokens: list[int]) -> Times:
    (first, cpu_first), (last, cpu_last), further = marks[0], marks[-1], max(1, len(marks) - 1)
    return Times(
        first - began[0],
        (last - first) / further,
        cpu_first - began[1],
        (cpu_last - cpu_first) / further,
        tuple(tokens),
    )


def compare(window: int, length: int, count: int, rounds: int) -> str:
    """Return two rows of the table: for the first token, and for each further one."""
    positions = length + count
    mine, theirs = (language_model(window, positions, is_ours) for is_ours in (True, False))
    prompt = torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(1)).tolist()
    pairs = []
    for turn in range(rounds + 1):  # the programs take turns at being first; the first round warms up
        if turn % 2:
            pairs.append((ours(mine, prompt, count), transformers(theirs, prompt, count)))
        else:
            their_times = transformers(theirs, prompt, count)
            pairs.append((ours(mine, prompt, count), their_times))
    del pairs[0]
    same = sum(a == b for a, b in zip(pairs[0][0].tokens, pairs[0][1].tokens, strict=True))
    rows = []
    for name, token in (("first", "first"), ("later", "further")):
        my_time, their_time = (
            1000 * statistics.median(getattr(one, name) for one in side) for side in zip(*pairs, strict=True)
        )
        ratio, cpu = (
            statistics.median(getattr(my, kind + name) / getattr(their, kind + name) for my, their in pairs)
            for kind in ("", "cpu_")
        )
        figures = [f"{my_time:.1f}", f"{their_time:.1f}", f"{ratio:.2f}", f"{cpu:.2f}"]
        cells = [str(length), str(window or "none"), token, *figures, f"{same} of {count}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, nargs="+", default=[16, 512, 4096], help="tokens")
    parser.add_argument("--windows", type=int, nargs="+", default=[0, 512], help="0 for none")
    parser.add_argument("--new", type=int, default=32, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.rounds} rounds\n")  # noqa: T201
    figures = ["ours, ms", "transformers, ms", "ours / transformers", "of CPU time"]
    heads = ["prompt", "window", "token", *figures, "same tokens"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")  # noqa: T201
    for window in options.windows:
        for length in options.prompts:
            print(compare(window, length, options.new, options.rounds), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
