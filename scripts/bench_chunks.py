"""Memory and time of a training step on long sequences: chunks against gradient checkpointing, SeCO and StreamBP.

A Llama of 4 layers, width 128 and 4 heads, V = 256, in float32. Each measurement is a new process: the peak of its resident
memory above that of the loaded model. Times are ratios to the checkpointed step, of runs that take turns in one process, so
that other load on the machine affects both.

    python scripts/bench_chunks.py memory --chunk 1024 --window 256 --lengths 4096,8192,16384,32768,65536,131072 --repeat 3
    python scripts/bench_chunks.py time --chunk 1024 --window 256 --length 16384 --rounds 5
    python scripts/bench_chunks.py scaling --chunk 2048 --window 512 --lengths 8192,32768,131072
    python scripts/bench_chunks.py train --chunk 2048 --window 512 --length 100000

SeCO's own code (arXiv:2505.16710) needs flash-attn, so its algorithm is written here: full attention, the keys, values and
their gradients of all tokens. StreamBP (arXiv:2506.03077) runs with --streambp FOLDER, which has its packages:

    uv pip install --target FOLDER --no-deps streambp transformers==4.51.3 "tokenizers<0.22" "huggingface_hub<1"
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from peak_memory import highest_memory, return_free_memory
from torch import Tensor

LAYERS, WIDTH, HEADS, VOCABULARY = 4, 128, 4, 256
# Programs with a window, and those that attend to all tokens. Theirs are measured up to this many tokens.
OURS = ("truncated", "exact", "exact, recomputed carries", "checkpointed")
FULL = ("exact, no window", "checkpointed, no window", "HF checkpointed", "SeCO")
THEIRS_UP_TO = 16384


@dataclass(frozen=True)
class Work:
    """One measurement: S tokens, in chunks of C, with a window W."""

    program: str
    length: int
    chunk: int
    window: int


def settings(length: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 344,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": max(length, 4096),
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


def tokens(length: int) -> Tensor:
    return torch.randint(0, VOCABULARY, (1, length + 1), generator=torch.Generator().manual_seed(1))


def llama(work: Work, attention: str = "sdpa") -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**settings(work.length))
    config._attn_implementation = attention
    return LlamaForCausalLM(config).train()


def step_of(work: Work) -> Callable[[], int]:
    """Build the model; returns a function that takes a step, and returns the bytes that the carry stores."""
    if work.program == "SeCO":
        return partial(seco, llama(work), work)
    if work.program == "StreamBP":
        return streambp(work)
    if work.program == "HF checkpointed":
        model = llama(work)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        return partial(plain, model, work)
    return ours(work)


def ours(work: Work) -> Callable[[], int]:
    from trainer.attention import carry, huggingface
    from trainer.data import Batch
    from trainer.device import Precision, return_freed_memory
    from trainer.learning.chunks import Chunked, ChunkSettings
    from trainer.learning.objective import NextToken
    from trainer.models.model import checkpoint_activations

    model = llama(work)
    huggingface.attach(model.config, window=None if "no window" in work.program else work.window)
    objective: Any = NextToken(model, Precision(torch.float32))
    return_freed_memory()
    if work.program.startswith("checkpointed"):
        checkpoint_activations(model)
    else:
        gradients: Any = "truncated" if work.program == "truncated" else "exact"
        recompute = "recomputed" in work.program
        objective = Chunked(objective, ChunkSettings(work.chunk, gradients, recompute))

    def step() -> int:
        drawn, stored = tokens(work.length), 0
        for part in objective.parts(Batch(drawn[:, :-1], drawn[:, 1:], None)):
            torch.autograd.backward(part.loss / work.length)
            stored = max([stored, *(each.nbytes for each in carry._current)])
        model.zero_grad()
        return stored

    return step


def plain(model: Any, work: Work) -> int:
    drawn = tokens(work.length)
    logits = model(input_ids=drawn[:, :-1], use_cache=False).logits
    torch.autograd.backward(F.cross_entropy(logits[0], drawn[0, 1:]))
    model.zero_grad()
    return 0


def seco(model: Any, work: Work) -> int:
    """Sequential chunk-wise optimization: the first pass stores all keys and values, then chunks run backward."""
    from transformers import DynamicCache

    torch.manual_seed(1)
    drawn = tokens(work.length)
    starts = range(0, work.length, work.chunk)
    cache: Any = DynamicCache(config=model.config)
    with torch.no_grad():
        for start in starts:
            model(
                input_ids=drawn[:, start : min(start + work.chunk, work.length)],
                past_key_values=cache,
                logits_to_keep=1,
            )
    stored = [[layer.keys, layer.values] for layer in cache.layers]
    gradients = [[torch.zeros_like(x) for x in pair] for pair in stored]
    del cache
    for start in reversed(starts):
        end = min(start + work.chunk, work.length)
        past = [[x[:, :, :start].detach().requires_grad_() for x in pair] for pair in stored]
        chunk_cache: Any = DynamicCache(config=model.config)
        for layer, pair in enumerate(past):
            if start:
                chunk_cache.update(pair[0], pair[1], layer)
        logits = model(input_ids=drawn[:, start:end], past_key_values=chunk_cache).logits
        loss = F.cross_entropy(logits[0], drawn[0, start + 1 : end + 1], reduction="sum") / work.length
        made = [x[:, :, start:] for layer in chunk_cache.layers for x in (layer.keys, layer.values)]
        received = [x[:, :, start:end] for pair in gradients for x in pair]
        torch.autograd.backward([loss, *made], [None, *received])
        for pair, pair_gradients in zip(past, gradients, strict=True):
            for x, gradient in zip(pair, pair_gradients, strict=True):
                if x.grad is not None:
                    gradient[:, :, :start] += x.grad
    model.zero_grad()
    return sum(x.nbytes for pair in stored for x in pair)


def streambp(work: Work) -> Callable[[], int]:
    # Its trainers, which are not used here, import trl with all that it needs.
    trainers = types.ModuleType("streambp.trainers")
    for name in ("StreamDPOTrainer", "StreamGRPOTrainer", "StreamSFTTrainer"):
        setattr(trainers, name, None)
    sys.modules["streambp.trainers"] = trainers
    from streambp import StreamModel  # type: ignore[import-not-found]

    stream = StreamModel(
        model=llama(work), gradient_accumulation_steps=1, logits_chunk_size=work.chunk, checkpoint_chunk_size=work.chunk,
        stream_checkpoint=True,
    )  # fmt: skip
    stream.gradient_checkpointing_enable()

    def step() -> int:
        drawn = tokens(work.length)[:, :-1]
        stream(input_ids=drawn, labels=drawn, attention_mask=torch.ones_like(drawn))
        stream.model.zero_grad()
        return 0

    return step


def child(work: Work) -> None:
    """Measure one step, after a short one that loads all code."""
    from trainer.device import peak_memory_bytes

    torch.set_num_threads(1)
    short = Work(work.program, min(work.length, 3 * work.chunk), work.chunk, work.window)
    step_of(short)()
    step = step_of(work)
    return_free_memory()
    with highest_memory() as memory:
        began, cpu_began = time.perf_counter(), time.process_time()
        stored = step()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    peak = peak_memory_bytes(torch.device("cpu"))
    say(json.dumps({"rise": memory.rise, "stored": stored, "seconds": seconds, "cpu": cpu, "peak": peak}))


def measure(work: Work, streambp_folder: Path | None = None) -> dict[str, Any] | None:
    """The result of a new process; None if it failed."""
    environment = dict(os.environ)
    if work.program == "StreamBP":
        environment["PYTHONPATH"] = str(streambp_folder)
    command = [sys.executable, __file__, "child", "--work", json.dumps(work.__dict__)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        say(f"{work}: {done.stderr.strip().splitlines()[-1:]}")
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def median_of(work: Work, repeat: int, streambp_folder: Path | None) -> dict[str, Any] | None:
    """The measurement with the median rise of several processes; None if one failed."""
    found = [measure(work, streambp_folder) for _ in range(repeat)]
    whole = [each for each in found if each]
    return sorted(whole, key=lambda each: each["rise"])[len(whole) // 2] if len(whole) == repeat else None


def memory(
    chunk: int,
    window: int,
    lengths: list[int],
    programs: list[str],
    streambp_folder: Path | None,
    repeat: int,
) -> None:
    formula = 2 * LAYERS * (window - 1) * WIDTH * 4 / chunk
    say(f"C={chunk} W={window}: carries of exact gradients are {formula:.0f} bytes a token")
    say(
        "| program | "
        + " | ".join(f"{length:,}" for length in lengths)
        + " | bytes a token | without carries |"
    )
    say("|---|" + "---|" * (len(lengths) + 2))
    for program in programs:
        measured: dict[int, dict[str, Any]] = {}
        for length in lengths:
            if program in (*OURS[:3],) or length <= THEIRS_UP_TO:
                result = median_of(Work(program, length, chunk, window), repeat, streambp_folder)
                if result:
                    measured[length] = result
        cells = [f"{measured[n]['rise'] / 2**20:.0f}" if n in measured else "" for n in lengths]
        say(f"| {program} | {' | '.join(cells)} | {_growth(measured, 0)} | {_growth(measured, 1)} |")


def _growth(measured: dict[int, dict[str, Any]], stored: int) -> str:
    """Bytes a token, from the second length to the last; without the stored carries if `stored` is 1."""
    if len(measured) < 3:
        return ""
    first, last = sorted(measured)[1], max(measured)
    rise = [measured[n]["rise"] - stored * measured[n]["stored"] for n in (first, last)]
    return f"{(rise[1] - rise[0]) / (last - first):.0f}"


def times(chunk: int, window: int, length: int, rounds: int) -> None:
    """Ratios of each program to the checkpointed step with the same window, and to the step that stores activations."""
    torch.set_num_threads(1)
    names = [*OURS[:3], "exact, no window", "checkpointed, no window"]
    steps = {name: step_of(Work(name, length, chunk, window)) for name in (*names, "checkpointed")}
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        taken = {}
        for name, step in steps.items():
            began = time.process_time()
            step()
            taken[name] = time.process_time() - began
        if number:
            for name in names:
                base = "checkpointed, no window" if "no window" in name else "checkpointed"
                ratios[name].append(taken[name] / taken[base])
    for name in names:
        say(f"{name}: {statistics.median(ratios[name]):.2f} x checkpointed (CPU time, {rounds} rounds)")


def scaling(chunk: int, window: int, lengths: list[int], programs: list[str]) -> None:
    """The CPU time of a step by its length, and the exponent k of S^k between the first length and the last."""
    say(f"C={chunk} W={window}: CPU seconds")
    say("| program | " + " | ".join(f"{length:,}" for length in lengths) + " | k |")
    say("|---|" + "---|" * (len(lengths) + 1))
    for program in programs:
        found = [measure(Work(program, length, chunk, window)) for length in lengths]
        seconds = [each["cpu"] for each in found if each]
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(lengths[-1] / lengths[0])
        say(f"| {program} | {' | '.join(f'{each:.1f}' for each in seconds)} | {exponent:.2f} |")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "time", "scaling", "train", "child"])
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--lengths", default="4096,8192,16384,32768")
    parser.add_argument("--length", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--repeat", type=int, default=1, help="processes for each figure, of which the median counts"
    )
    parser.add_argument("--programs", help="separated by ;")
    parser.add_argument("--streambp", type=Path)
    parser.add_argument("--work")
    options = parser.parse_args()
    if options.what == "child":
        child(Work(**json.loads(options.work)))
    elif options.what == "time":
        times(options.chunk, options.window, options.length, options.rounds)
    elif options.what == "scaling":
        programs = options.programs.split(";") if options.programs else [*OURS[:3]]
        scaling(options.chunk, options.window, [int(n) for n in options.lengths.split(",")], programs)
    elif options.what == "train":
        for program in options.programs.split(";") if options.programs else OURS[:3]:
            result = measure(Work(program, options.length, options.chunk, options.window))
            assert result
            say(
                f"{program}: {options.length:,} tokens, {result['rise'] / 2**20:.0f} MiB above the model, "
                f"{result['peak'] / 2**20:.0f} MiB in all, {result['seconds']:.0f} s"
            )
    else:
        default = [*OURS, *FULL, *(["StreamBP"] if options.streambp else [])]
        programs = options.programs.split(";") if options.programs else default
        memory(
            options.chunk,
            options.window,
            [int(n) for n in options.lengths.split(",")],
            programs,
            options.streambp,
            options.repeat,
        )


if __name__ == "__main__":
    main()
