"""Compare the speed and memory of sliding-window attention, forward and backward, with other implementations.

Each round runs all programs once, in turn, so that other load on the machine affects all of them equally. Ratios are
medians over rounds. Memory is the peak above the inputs, measured in a new process for each case. The order of growth
is the slope of log(time) over log(size). On a GPU the other programs are our backends. Prints Markdown tables.

    python scripts/bench_attention.py --sizes 1024 4096 16384 --windows 512 --rounds 5 > table.md
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peak_memory import highest_memory, return_free_memory
from torch import Tensor

from trainer.attention import attention, mask
from trainer.attention.choice import BACKENDS
from trainer.attention.request import AttentionRequest

HEADS, HEAD_DIM = 8, 64
OURS = "ours"
Call = Callable[[Tensor, Tensor, Tensor], Tensor]
Case = tuple[str, int | None]  # program, window; None if the window does not change its cost


def inputs(length: int, dtype: str, device: str) -> list[Tensor]:
    """Return q, k and v, which require gradients, and the gradient of the output: (1, HEADS, length, HEAD_DIM)."""
    random = torch.randn(4, 1, HEADS, length, HEAD_DIM, device=device).to(getattr(torch, dtype)).unbind()
    return [x.clone().requires_grad_(index < 3) for index, x in enumerate(random)]


def programs(
    length: int, windows: Sequence[int], dtype: str, device: str, largest_mask: int
) -> dict[Case, Callable[[], Call]]:
    """Return the programs to compare. Calling one prepares it and returns a function of q, k and v.

    A program that does not use the window appears once.
    """
    found: dict[Case, Callable[[], Call]] = {
        (OURS, w): partial(partial, attention, window=w) for w in windows
    }
    torch_attention = torch.nn.functional.scaled_dot_product_attention
    if length <= largest_mask:
        found["dense mask", None] = lambda: partial(
            torch_attention, attn_mask=mask(length, length, windows[0]).to(device)
        )
        found["full causal", None] = lambda: partial(torch_attention, is_causal=True)
    if device != "cpu":
        request = AttentionRequest(device, dtype, HEAD_DIM, HEADS, HEADS, windows[0])
        for backend in BACKENDS:
            if backend.reasons_here() or backend.reasons_against(request):
                continue
            name = backend.name
            found[f"{name}, no window", None] = partial(partial, attention, backend=name)
            for w in windows:
                found[name, w] = partial(partial, attention, backend=name, window=w)
        return found
    for w in windows:
        found["local-attention", w] = partial(local_attention, w)
    if length <= largest_mask:
        found["transformers", None] = partial(transformers_attention, length, windows[0], dtype)
    return found


def local_attention(window: int) -> Call:
    """Return the attention of the package local-attention, whose exact window is `window_size` + 1 keys."""
    from local_attention import LocalAttention

    module = LocalAttention(
        window_size=window - 1, causal=True, exact_windowsize=True, use_rotary_pos_emb=False, autopad=True
    )

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output: Tensor = module(q, k, v)
        return output

    return call


def transformers_attention(length: int, window: int, dtype: str) -> Call:
    """Return what a Mistral layer of transformers runs with `sliding_window`: SDPA with a mask."""
    from transformers import MistralConfig
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import create_sliding_window_causal_mask

    config = MistralConfig(sliding_window=window)
    config._attn_implementation = "sdpa"
    embeds = torch.zeros(1, length, 1, dtype=getattr(torch, dtype))
    module = torch.nn.Module()
    module.is_causal = True  # type: ignore[assignment]
    sees: Any = create_sliding_window_causal_mask(
        config=config,
        inputs_embeds=embeds,
        attention_mask=None,
        past_key_values=None,
        position_ids=torch.arange(length)[None],
    )

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output: Tensor = sdpa_attention_forward(module, q, k, v, sees)[0]
        return output.transpose(1, 2)

    return call


def run(call: Call, q: Tensor, k: Tensor, v: Tensor, grad: Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    if q.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    output = call(q, k, v)
    torch.autograd.grad(output, (q, k, v), grad)
    if q.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def product_rate(dtype: str, device: str) -> float:
    """Return the best FLOP/s of a large matrix product on this device: the upper limit for attention."""
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        a @ a
        if a.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def useful_flops(length: int, window: int) -> float:
    """Return the FLOPs of two matrix products forward and five backward over the visible pairs of query and key."""
    full = min(length, window)
    pairs = full * (full + 1) / 2 + (length - full) * full
    return 7 * 2.0 * HEADS * HEAD_DIM * pairs


def peaks(case: Case, length: int, dtype: str, options: argparse.Namespace) -> str:
    """Return what `measure_peaks` prints in a new process, or "failed"."""
    name, window = case
    command = [sys.executable, __file__, "--peak", name, "--sizes", str(length), "--dtypes", dtype]
    command += ["--windows", str(window or options.windows[0]), "--device", options.device]
    command += ["--threads", str(options.threads), "--largest-mask", str(options.largest_mask)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "failed"


def measure_peaks(name: str, length: int, window: int, dtype: str, device: str, largest_mask: int) -> str:
    """Return the peak memory above the inputs and a mask, as multiples of q + k + v: "first call / second call".

    The first call includes what torch keeps: on a CPU, code for each new shape of a product in half precision.
    """

    def prepared(length: int, window: int) -> Call:
        found = programs(length, [window], dtype, device, largest_mask)
        return next(prepare for (other, _), prepare in found.items() if other == name)()

    run(prepared(1024, 16), *inputs(1024, dtype, device))  # loads libraries
    call, tensors = prepared(length, window), inputs(length, dtype, device)
    rises = []
    for _ in range(2):
        if device == "cpu":
            return_free_memory()
            with highest_memory() as highest:
                run(call, *tensors)
            rises.append(highest.rise)
        else:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run(call, *tensors)
            rises.append(torch.cuda.max_memory_allocated() - before)
    return " / ".join(f"{rise / (3 * tensors[0].nbytes):.2f}" for rise in rises)


def order(times: dict[int, float]) -> float:
    """Return the slope of log(time) over log(size), by least squares."""
    xs, ys = [math.log(size) for size in times], [math.log(value) for value in times.values()]
    mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread


def rounds(
    calls: dict[Case, Call], tensors: list[Tensor], options: argparse.Namespace
) -> dict[Case, list[float]]:
    """Return the seconds of each program in each round. The first round warms up and counts only if it is the last."""
    found: dict[Case, list[float]] = {case: [] for case in calls}
    began = time.perf_counter()
    for done in range(options.rounds + 1):
        if done and (time.perf_counter() - began) * (done + 1) / done > options.seconds:
            break
        for case, call in calls.items():
            found[case].append(run(call, *tensors))
    return {case: seconds[1:] or seconds for case, seconds in found.items()}


@dataclass(frozen=True)
class Row:
    """One size and window: our best time, and the median ratio to our time and the memory of each program."""

    length: int
    window: int
    rounds: int
    seconds: float
    ratios: dict[str, float]
    memory: dict[str, str]


def rows(options: argparse.Namespace, dtype: str) -> Iterator[Row]:
    """Measure all programs, size by size."""
    for length in options.sizes:
        windows = [window for window in options.windows if window < length]
        if not windows:
            continue
        prepared = programs(length, windows, dtype, options.device, options.largest_mask)
        say(f"{dtype} S={length}: {len(prepared)} programs")
        tensors = inputs(length, dtype, options.device)
        times = rounds({case: prepare() for case, prepare in prepared.items()}, tensors, options)
        memory = {}
        for case in prepared:
            if case[0] == OURS or length <= options.largest_memory:
                memory[case] = peaks(case, length, dtype, options)
                say(
                    f"{dtype} S={length} {case[0]}, W={case[1]}: {min(times[case]):.4f} s, memory {memory[case]}"
                )
        for window in windows:
            mine = times[OURS, window]
            here = [case for case in prepared if case[1] in (None, window)]
            ratios = {
                case[0]: statistics.median(a / b for a, b in zip(times[case], mine, strict=True))
                for case in here
            }
            sizes = {case[0]: memory[case] for case in here if case in memory}
            yield Row(length, window, len(mine), min(mine), ratios, sizes)


def table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    cells = [titles, ["---"] * len(titles), *lines]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in cells) + "\n"


def report(options: argparse.Namespace, dtype: str) -> str:
    """Return two tables, the orders of growth, and our share of the rate of matrix products."""
    rate = product_rate(dtype, options.device)
    done = sorted(rows(options, dtype), key=lambda row: (row.window, row.length))
    names = list(dict.fromkeys(name for row in done for name in row.ratios if name != OURS))
    times = table(
        ("W", "S", "rounds", "ours, ms", "share of matrix product rate", *names),
        [
            (
                *(row.window, row.length, row.rounds, f"{1000 * row.seconds:.1f}"),
                f"{useful_flops(row.length, row.window) / row.seconds / rate:.0%}",
                *(f"{row.ratios[name]:.2f}" if name in row.ratios else "" for name in names),
            )
            for row in done
        ],
    )
    memory = table(
        ("W", "S", OURS, *names),
        [(row.window, row.length, *(row.memory.get(name, "") for name in (OURS, *names))) for row in done],
    )
    growth = []
    for window in options.windows:
        best = {row.length: row.seconds for row in done if row.window == window and row.length >= 4 * window}
        if len(best) > 1:
            growth.append(
                f"* W={window}: time grows with S (from {min(best)}) to the power {order(best):.2f}\n"
            )
    longest = max(row.length for row in done)
    best = {row.window: row.seconds for row in done if row.length == longest}
    if len(best) > 1:
        growth.append(f"* S={longest}: time grows with W to the power {order(best):.2f}\n")
    return f"""## {dtype}

Large matrix products: {rate / 1e9:.0f} GFLOP/s. Our time, and the time of the other programs as a multiple of ours:

{times}
{"".join(growth)}
Peak memory above the inputs as a multiple of q + k + v, first call in a process / second call:

{memory}"""


def say(line: str) -> None:
    """Print progress to stderr."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384, 32768])
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7, help="largest number of rounds for one size")
    parser.add_argument(
        "--seconds",
        type=float,
        default=100,
        help="time limit for the rounds of one size; one round always runs",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--largest-mask", type=int, default=32768, help="largest size at which programs with S x S memory run"
    )
    parser.add_argument(
        "--largest-memory",
        type=int,
        default=8192,
        help="largest size at which the memory of the other programs is measured",
    )
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        settings = (options.sizes[0], options.windows[0], options.dtypes[0], options.device)
        print(measure_peaks(options.peak, *settings, options.largest_mask))  # noqa: T201
        return 0
    threads = f", {options.threads} threads" if options.device == "cpu" else ""
    print(f"torch {torch.__version__}, {options.device}{threads}; B=1, H={HEADS}, D={HEAD_DIM}\n")  # noqa: T201
    for dtype in options.dtypes:
        print(report(options, dtype), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
