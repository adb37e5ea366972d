"""Time attention with a sliding window, ours against others', side by side: forward and backward, median ratios.

Every round runs all programs once, in turn, so that a busy moment of the machine falls on all of them; ratios are
medians over rounds. Memory is the peak above the inputs, from a fresh process for each case. The order of growth is
the slope of log(time) over log(size). On a GPU the other programs are our backends.

    python scripts/bench_attention.py --sizes 1024 4096 16384 --windows 512 --rounds 5
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from trainer.attention import attention, mask
from trainer.attention.choice import MODULES
from trainer.attention.request import AttentionRequest

HEADS, HEAD_DIM = 8, 64
OURS = "ours"
Call = Callable[[Tensor, Tensor, Tensor], Tensor]


def inputs(length: int, dtype: str, device: str) -> list[Tensor]:
    """q, k, v that want gradients, and the output's gradient: (1, HEADS, length, HEAD_DIM)."""
    random = torch.randn(4, 1, HEADS, length, HEAD_DIM, device=device).to(getattr(torch, dtype)).unbind()
    return [x.clone().requires_grad_(index < 3) for index, x in enumerate(random)]


def programs(
    length: int, window: int, dtype: str, device: str, largest_mask: int
) -> dict[str, Callable[[], Call]]:
    """What is compared, by name: each makes ready, and gives a function of q, k and v."""
    found: dict[str, Callable[[], Call]] = {OURS: lambda: partial(attention, window=window)}
    torch_attention = torch.nn.functional.scaled_dot_product_attention
    if length <= largest_mask:
        found["dense mask"] = lambda: partial(
            torch_attention, attn_mask=mask(length, length, window).to(device)
        )
        found["full causal"] = lambda: partial(torch_attention, is_causal=True)
    if device != "cpu":
        request = AttentionRequest(device, dtype, HEAD_DIM, HEADS, HEADS, window)
        for name, module in MODULES.items():
            if not module.reasons_here() and not module.reasons_against(request):
                for label, reach in ((name, window), (f"{name}, no window", None)):
                    found[label] = partial(partial, attention, backend=name, window=reach)
        return found
    found["local-attention"] = partial(local_attention, window)
    if length <= largest_mask:
        found["transformers"] = partial(transformers_attention, length, window, dtype)
    return found


def local_attention(window: int) -> Call:
    """Of the package of that name; its exact window is one key more than it is given."""
    from local_attention import LocalAttention

    module = LocalAttention(
        window_size=window - 1, causal=True, exact_windowsize=True, use_rotary_pos_emb=False, autopad=True
    )

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output: Tensor = module(q, k, v)
        return output

    return call


def transformers_attention(length: int, window: int, dtype: str) -> Call:
    """What a Mistral layer of transformers runs with `sliding_window`: its SDPA and its mask."""
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
    """Seconds of one forward and backward."""
    if q.is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    output = call(q, k, v)
    torch.autograd.grad(output, (q, k, v), grad)
    if q.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def product_rate(dtype: str, device: str) -> float:
    """The best FLOP/s of a large matrix product here: what all attention is made of."""
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
    """Two products forward and five backward, of the pairs of query and key that see each other."""
    full = min(length, window)
    pairs = full * (full + 1) / 2 + (length - full) * full
    return 7 * 2.0 * HEADS * HEAD_DIM * pairs


def peak(name: str, length: int, window: int, dtype: str, device: str, largest_mask: int) -> float | None:
    """Peak memory of a forward and backward above the inputs, as a multiple of q + k + v; None where it failed."""
    command = [sys.executable, __file__, "--peak", name, "--sizes", str(length), "--windows", str(window)]
    command += ["--dtypes", dtype, "--device", device, "--largest-mask", str(largest_mask)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def measure_peak(name: str, length: int, window: int, dtype: str, device: str, largest_mask: int) -> float:
    """What `peak` asks the fresh process for: one forward and backward, without what is made ready before, as a mask."""
    tensors = inputs(length, dtype, device)
    run(
        programs(256, 16, dtype, device, largest_mask)[name](), *inputs(256, dtype, device)
    )  # loads libraries
    call = programs(length, window, dtype, device, largest_mask)[name]()
    if device == "cpu":
        with highest_memory() as highest:
            run(call, *tensors)
        rise = highest.rise
    else:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(call, *tensors)
        rise = torch.cuda.max_memory_allocated() - before
    return rise / (3 * tensors[0].nbytes)


class highest_memory:  # noqa: N801
    """Watches this process' memory: `rise` is the most bytes it had above those at the start."""

    def __enter__(self) -> highest_memory:
        self._process, self._done, self.rise = psutil.Process(), threading.Event(), 0
        self._start = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.0005):
            self.rise = max(self.rise, self._process.memory_info().rss - self._start)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()


def order(times: dict[int, float]) -> float:
    """The slope of log(time) over log(size), by least squares."""
    xs, ys = [math.log(size) for size in times], [math.log(value) for value in times.values()]
    mean_x, mean_y = statistics.mean(xs), statistics.mean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread


def rounds(calls: dict[str, Call], tensors: list[Tensor], count: int) -> dict[str, list[float]]:
    """Seconds of each program in each round."""
    for call in calls.values():
        run(call, *tensors)  # warms caches up
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            found[name].append(run(call, *tensors))
    return found


def rows(options: argparse.Namespace, dtype: str) -> Iterator[tuple[int, int, str, float, float, float]]:
    """(size, window, program, best seconds, median of ratios to ours, memory as a multiple of q + k + v)."""
    for window in options.windows:
        for length in options.sizes:
            if length <= window:
                continue
            settings = (length, window, dtype, options.device, options.largest_mask)
            calls = {name: prepare() for name, prepare in programs(*settings).items()}
            found = rounds(calls, inputs(length, dtype, options.device), options.rounds)
            for name, seconds in found.items():
                ratio = statistics.median(
                    theirs / mine for theirs, mine in zip(seconds, found[OURS], strict=True)
                )
                memory = None if options.no_memory else peak(name, *settings)
                yield length, window, name, min(seconds), ratio, math.nan if memory is None else memory


def report(options: argparse.Namespace) -> None:
    """Print a table for each dtype, the orders of growth, and the share of the rate of products."""
    console = Console(width=120)
    threads = f", {torch.get_num_threads()} threads" if options.device == "cpu" else ""
    console.print(
        f"torch {torch.__version__}, {options.device}{threads}; B=1 H={HEADS} D={HEAD_DIM}, {options.rounds} rounds"
    )
    for dtype in options.dtypes:
        rate = product_rate(dtype, options.device)
        table = Table(
            "W", "S", "program", "best ms", "of ours (median)", "memory / (q+k+v)", "of product rate"
        )
        best: dict[tuple[int, int], float] = {}
        for length, window, name, seconds, ratio, memory in rows(options, dtype):
            share = ""
            if name == OURS:
                best[window, length] = seconds
                share = f"{useful_flops(length, window) / seconds / rate:.0%}"
            cells = (
                f"{1000 * seconds:.1f}",
                f"{ratio:.2f}",
                "" if math.isnan(memory) else f"{memory:.2f}",
                share,
            )
            table.add_row(str(window), str(length), name, *cells)
        console.print(f"\n{dtype}: products at {rate / 1e9:.0f} GFLOP/s", table)
        for window in options.windows:
            times = {size: value for (w, size), value in best.items() if w == window and size >= 4 * window}
            if len(times) > 1:
                console.print(f"W={window}: time grows with S to the power {order(times):.2f}")
        longest = max(size for _, size in best)
        times = {window: value for (window, size), value in best.items() if size == longest}
        if len(times) > 1:
            console.print(f"S={longest}: time grows with W to the power {order(times):.2f}")


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384, 32768])
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--largest-mask", type=int, default=16384, help="size up to which programs of order S x S run"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave the memory out")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        settings = (options.sizes[0], options.windows[0], options.dtypes[0], options.device)
        print(measure_peak(options.peak, *settings, options.largest_mask))  # noqa: T201
        return 0
    report(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
