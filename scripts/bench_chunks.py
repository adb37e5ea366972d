"""Memory and time of a training step on long sequences: chunks against gradient checkpointing, SeCO and StreamBP.

A Llama of 4 layers, width 128 and 4 heads, V = 256, in float32. Each measurement is a new process: the peak of its resident
memory above that of the loaded model. Times are ratios of CPU time to the checkpointed step, of runs that take turns in one
process, so that other load on the machine affects both.

    python scripts/bench_chunks.py memory --chunk 1024,2048 --window 256,512 --lengths 4096,8192,16384,131072 --streambp FOLDER
    python scripts/bench_chunks.py time --chunk 1024 --window 256 --length 8192 --rounds 3
    python scripts/bench_chunks.py scaling --chunk 2048 --window 512 --lengths 8192,32768,131072
    python scripts/bench_chunks.py train --chunk 2048 --window 512 --lengths 100000,1000000

The last one runs `aios train`: its peak is that of the whole process. StreamBP runs with --streambp FOLDER, which has its packages:

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
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from chunk_programs import CHUNKS, FULL, LAYERS, THEIRS_UP_TO, WIDTH, Work, settings, step_of
from peak_memory import highest_memory, return_free_memory

ROOT = Path(__file__).parents[1]


def child(work: Work) -> None:
    """Measure one step, after a short one that loads all code."""
    torch.set_num_threads(1)
    short = Work(work.program, min(work.length, 3 * work.chunk), work.chunk, work.window)
    step_of(short)()
    step = step_of(work)
    return_free_memory()
    with highest_memory() as memory:
        began = time.process_time()
        stored = step()
        cpu = time.process_time() - began
    say(json.dumps({"rise": memory.rise, "stored": stored, "cpu": cpu}))


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
    row("program", *(f"{length:,}" for length in lengths), "bytes a token", "without carries")
    row(*["---"] * (len(lengths) + 3))
    for program in programs:
        measured: dict[int, dict[str, Any]] = {}
        for length in lengths:
            if program in CHUNKS or length <= THEIRS_UP_TO:
                result = median_of(Work(program, length, chunk, window), repeat, streambp_folder)
                if result:
                    measured[length] = result
        cells = (f"{measured[n]['rise'] / 2**20:.0f}" if n in measured else "" for n in lengths)
        row(program, *cells, _growth(measured, 0), _growth(measured, 1))


def _growth(measured: dict[int, dict[str, Any]], stored: int) -> str:
    """Bytes a token, from the second length to the last; without the stored carries if `stored` is 1."""
    if len(measured) < 3:
        return ""
    first, last = sorted(measured)[1], max(measured)
    rise = [measured[n]["rise"] - stored * measured[n]["stored"] for n in (first, last)]
    return f"{(rise[1] - rise[0]) / (last - first):.0f}"


def times(chunk: int, window: int, length: int, rounds: int) -> None:
    """Ratios of the programs to steps of whole sequences: checkpointed ones, and for truncated gradients plain ones, too."""
    torch.set_num_threads(1)
    pairs = [(program, "checkpointed") for program in CHUNKS]
    pairs += [("truncated", "plain"), ("exact, no window", "checkpointed, no window")]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    steps = {name: step_of(Work(name, length, chunk, window)) for name in names}
    taken: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        taken.append({})
        for name, step in steps.items():
            began = time.process_time()
            step()
            taken[-1][name] = time.process_time() - began
    for name, base in pairs:
        ratio = statistics.median(each[name] / each[base] for each in taken[1:])  # the first one loads code
        say(f"{name}: {ratio:.2f} x {base} (CPU time, {rounds} rounds)")


def scaling(chunk: int, window: int, lengths: list[int], programs: list[str]) -> None:
    """The CPU time of a step by its length, and the exponent k of S^k between the first length and the last."""
    say(f"C={chunk} W={window}: CPU seconds")
    row("program", *(f"{length:,}" for length in lengths), "k")
    row(*["---"] * (len(lengths) + 2))
    for program in programs:
        found = [measure(Work(program, length, chunk, window)) for length in lengths]
        seconds = [each["cpu"] for each in found if each]
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(lengths[-1] / lengths[0])
        row(program, *(f"{each:.1f}" for each in seconds), f"{exponent:.2f}")


def train(chunk: int, window: int, length: int, programs: list[str]) -> None:
    """Train one step with `aios train`, and say what the process needed at most."""
    model = {
        "model_type": "llama",
        **settings(length),
        "vocab_size": 264,
        "bos_token_id": 256,
        "eos_token_id": 256,
    }
    for program in programs:
        options = ["--chunk-gradients", "truncated" if program == "truncated" else "exact"]
        options += ["--recompute-carries"] * ("recomputed" in program)
        with tempfile.TemporaryDirectory() as folder:
            text = Path(folder, "text.txt")
            line = "the quick brown fox jumps over the lazy dog while seven wizards box\n"
            text.write_text(line * (2 * length // len(line) + 2), encoding="utf-8")
            options += ["--dataset-file", str(text), "--eval-fraction", "0", "--output-dir", folder]
            options += ["--architecture", json.dumps(model), "--tokenizer", "byte", "--device", "cpu"]
            options += ["--batch-size", "1", "--steps", "1", "--max-length", str(length)]
            options += ["--use-chunked-training", "--chunk-size", str(chunk), "--window-size", str(window)]
            command = [sys.executable, str(ROOT / "aios.py"), "train", *options]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            lines = Path(folder, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        [step] = [record for record in map(json.loads, lines) if record["event"] == "train"]
        say(
            f"{program}: {step['tokens']:,} tokens, {step['peak_memory_bytes'] / 2**20:.0f} MiB in all, loss {step['loss']:.2f}"
        )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row(*cells: str) -> None:
    say(f"| {' | '.join(cells)} |")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "time", "scaling", "train", "child"])
    parser.add_argument("--chunk", type=numbers, default=[1024], help="several, if there are as many windows")
    parser.add_argument("--window", type=numbers, default=[256])
    parser.add_argument("--lengths", type=numbers, default=[4096, 8192, 16384, 32768])
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--repeat", type=int, default=1, help="processes for each figure, of which the median counts"
    )
    parser.add_argument("--programs", help="separated by ;")
    parser.add_argument("--streambp", type=Path)
    parser.add_argument("--work")
    options = parser.parse_args()
    named = options.programs and options.programs.split(";")
    if options.what == "child":
        child(Work(**json.loads(options.work)))
        return
    for chunk, window in zip(options.chunk, options.window, strict=True):
        if options.what == "time":
            times(chunk, window, options.length, options.rounds)
        elif options.what == "scaling":
            scaling(chunk, window, options.lengths, named or [*CHUNKS])
        elif options.what == "train":
            for length in options.lengths:
                train(chunk, window, length, named or [*CHUNKS])
        else:
            default = [*CHUNKS, "checkpointed", *FULL, *(["StreamBP"] if options.streambp else [])]
            memory(chunk, window, options.lengths, named or default, options.streambp, options.repeat)


if __name__ == "__main__":
    main()
