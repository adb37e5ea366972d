"""Time, memory and traffic of a training step on 1 to 1,024 GPUs, computed from a few formulas.

    python scripts/simulate_scaling.py                     # the tables of docs/scaling.md
    python scripts/simulate_scaling.py traffic             # measured here with gloo, against the formula (Linux, root)
    python scripts/simulate_scaling.py time                # the step time of two processes here, against the formula

Formulas, for P parameters on N processes, g of them on a machine, float32 weights of 4 bytes:

* none: an all-reduce of the gradients; each process sends 2 (N - 1) / N * 4 P bytes.
* full: weights are gathered for each forward and each backward pass, and gradients are reduced to shards once a step (or after
  every batch); each sends (N - 1) / N * 4 P bytes from each process. With gloo the reduction sends twice as much: it is an
  all-reduce (ProcessGroupGloo::reduce_scatter_tensor_coalesced).
* hybrid: the same within a machine (g instead of N), then an all-reduce of a shard between the N / g machines.

A step takes its computation, plus the communication that does not overlap with it: all of it for `none`; for the others that of the
first block, which nothing can hide, and what is longer than the computation. Machines have one network link per GPU, and use all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
Sharding = Literal["none", "full", "hybrid"]
BYTES = 4  # of a weight or gradient
STATE = 12  # bytes per parameter of weights and AdamW's moments
GRADIENT = 4


@dataclass(frozen=True)
class Model:
    """A dense transformer. `params`: all; `table`: those of an embedding that is only indexed."""

    name: str
    params: float
    table: float
    layers: int
    width: int

    def flops(self, length: int) -> float:
        """Of a token, forward and backward; causal attention counts whole, as in `trainer.mfu`."""
        return 6 * (self.params - self.table) + 12 * self.layers * self.width * length


@dataclass(frozen=True)
class Machine:
    """A machine and its network.

    Attributes:
        gpus: in a machine.
        flops: that a GPU reaches while nothing waits, per second: its peak times the MFU on a single GPU.
        inside, outside: bytes per second that a GPU sends within a machine, and over the network.
        latency: seconds of a message between machines.
        disk: bytes per second that all machines together write to the shared drive.
        memory: bytes of a GPU.
    """

    name: str
    gpus: int
    flops: float
    inside: float
    outside: float
    latency: float
    disk: float
    memory: float


@dataclass(frozen=True)
class Run:
    """How a model is trained. `batch`: sequences of a process in one pass; `passes`: of them in a step."""

    model: Model
    machine: Machine
    processes: int
    sharding: Sharding
    batch: int = 1
    passes: int = 1
    length: int = 8192
    checkpointing: bool = True
    every_batch: bool = False


@dataclass(frozen=True)
class Step:
    """What a step costs: seconds, bytes sent by a process within its machine and over the network, bytes of memory."""

    compute: float
    communication: float
    seconds: float
    inside: float
    outside: float
    memory: float
    checkpoint: float

    def efficiency(self) -> float:
        return self.compute / self.seconds


LLAMA_8B = Model("Llama 3.1 8B", 8.03e9, 0.525e9, 32, 4096)
LLAMA_70B = Model("Llama 3.1 70B", 70.6e9, 1.05e9, 80, 8192)
# 989 TFLOP/s in bfloat16 (NVIDIA's data sheet), 450 GB/s of NVLink in one direction, 400 Gb/s of network for each GPU
H100 = Machine("8 x H100, 400 Gb/s each", 8, 0.45 * 989e12, 350e9, 45e9, 20e-6, 50e9, 80e9)
PC = Machine("1 x RTX 4090, 10 Gb/s", 1, 0.45 * 165e12, 1e12, 1.1e9, 100e-6, 0.5e9, 24e9)


def traffic(params: float, processes: int, per_machine: int, sharding: Sharding, passes: int = 1,
            every_batch: bool = False, gloo: bool = False) -> tuple[float, float]:  # fmt: skip
    """Bytes that a process sends in a step, to others in its machine, and to other machines."""
    size = params * BYTES
    machines = max(1, processes // per_machine)
    # In a ring over all processes, one of `per_machine` neighbours is in another machine.
    outside = 1 / per_machine if machines > 1 else 0.0
    reductions = (passes if every_batch else 1) * (2 if gloo else 1)
    if sharding == "none":
        sent = 2 * (processes - 1) / processes * size
        return sent * (1 - outside), sent * outside
    if sharding == "full":
        sent = (2 * passes + reductions) * (processes - 1) / processes * size
        return sent * (1 - outside), sent * outside
    within = (2 * passes + reductions) * (per_machine - 1) / per_machine * size
    between = 2 * (machines - 1) / machines * size / per_machine
    return within, between


def simulate(run: Run) -> Step:
    """The cost of one step."""
    model, machine = run.model, run.machine
    tokens = run.batch * run.passes * run.length
    again = 4 / 3 if run.checkpointing else 1.0  # the forward pass once more
    compute = tokens * model.flops(run.length) * again / machine.flops
    here = min(machine.gpus, run.processes)
    inside, outside = traffic(model.params, run.processes, here, run.sharding, run.passes, run.every_batch)
    messages = (
        model.layers * 3 * run.passes if run.sharding != "none" else max(1, model.params * BYTES / (64 << 20))
    )
    hops = run.processes - 1 if run.sharding != "hybrid" else run.processes // here - 1
    waiting = messages * hops * machine.latency / here if run.processes > here else 0.0
    communication = inside / machine.inside + outside / machine.outside + waiting
    first = communication / model.layers
    exposed = communication if run.sharding == "none" else first + max(0.0, communication - first - compute)
    parts = {"none": 1, "full": run.processes, "hybrid": here}[run.sharding]
    block = model.params / model.layers * BYTES
    whole_gradients = run.passes > 1 and not run.every_batch
    gradients = model.params * GRADIENT / (1 if whole_gradients else parts)
    stored = (
        2 if run.checkpointing else 34
    )  # bytes per token, width and layer in 16 bits: Korthikanti et al., 2205.05198
    activations = (
        run.batch * run.length * model.width * (model.layers * stored + (34 if run.checkpointing else 0))
    )
    memory = model.params * STATE / parts + gradients + activations + (2 * block if parts > 1 else 0)
    saved = model.params * STATE / machine.disk
    return Step(compute, communication, compute + exposed, inside, outside, memory, saved)


STEP_TOKENS, LENGTH = 1 << 22, 4096  # of the tables: a step reads 4 M tokens, however many GPUs share them


def tables() -> None:
    kinds: tuple[Sharding, ...] = ("full", "hybrid")
    for model, machine in ((LLAMA_8B, H100), (LLAMA_70B, H100), (LLAMA_8B, PC)):
        sys.stdout.write(
            f"\n{model.name}, machines of {machine.name}, {STEP_TOKENS:,} tokens in a step\n\n"
            "| GPUs | sharding | memory | step | communication | efficiency | checkpoint |\n|---|---|---|---|---|---|---|\n"
        )
        for count in (1, 8, 64, 256, 512, 1024):
            for sharding in kinds if count > machine.gpus > 1 else ("full",):
                passes = STEP_TOKENS // (LENGTH * count)
                run = Run(model, machine, count, sharding, 1, passes, LENGTH, every_batch=True)
                step = simulate(run)
                memory = f"{step.memory / 1e9:,.0f} GB" + (
                    "" if step.memory < machine.memory else ", too much"
                )
                sys.stdout.write(
                    f"| {count:,} | `{sharding}` | {memory} | {step.seconds:,.1f} s | {step.communication:,.1f} s | "
                    f"{step.efficiency():.0%} | {step.checkpoint:,.0f} s |\n"
                )


def published() -> None:
    """Published runs against the formulas, with the MFU of their own smallest run."""
    titan = replace(H100, flops=0.33 * 989e12 * 4 / 3)
    rows = []
    for gpus, found in ((8, 5762.0), (128, 5605.0)):
        step = simulate(Run(LLAMA_8B, replace(titan, flops=5762 * LLAMA_8B.flops(8192)), gpus, "full", 2,
                            checkpointing=False))  # fmt: skip
        rows.append(("torchtitan 8B", gpus, found, 2 * 8192 / step.seconds))
    seven = Model("Llama 3 7B", 6.74e9, 0.131e9, 32, 4096)
    h200 = Machine("4 x H200", 4, 10471 * seven.flops(4096) * 4 / 3, 350e9, 45e9, 20e-6, 50e9, 141e9)
    for gpus, found in ((1, 10471), (2, 18728 / 2), (4, 38983 / 4), (8, 0.53 * 10471)):
        step = simulate(Run(seven, h200, gpus, "full", 4, length=4096))
        rows.append(("KempnerForge 7B", gpus, found, 4 * 4096 / step.seconds))
    sys.stdout.write("\n| run | GPUs | published tokens/s of a GPU | computed |\n|---|---|---|---|\n")
    for name, gpus, found, computed in rows:
        sys.stdout.write(f"| {name} | {gpus} | {found:,.0f} | {computed:,.0f} |\n")


CONFIG: dict[str, Any] = {
    "model": {
        "architecture": {"model_type": "llama", "num_hidden_layers": 4, "num_attention_heads": 4, "hidden_size": 512,
                         "intermediate_size": 2048, "max_position_embeddings": 256},
        "tokenizer": "byte",
    },
    "data": {"max_length": 64, "eval_fraction": 0.0},
    "training": {"batch_size": 1, "device": "cpu", "checkpoint_every": 0, "eval_every": 0, "hang_timeout": 0},
}  # fmt: skip


def run_here(folder: Path, processes: int, steps: int, *more: str) -> tuple[int, list[dict[str, Any]], float]:
    """Train in a network namespace of its own; returns the bytes sent over its loopback, the train records, the parameters."""
    import yaml

    text, config, out = (
        folder / "text.txt",
        folder / "config.yaml",
        folder / f"out-{processes}-{steps}{''.join(more)}",
    )
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 400)
    config.write_text(yaml.safe_dump(CONFIG))
    train = f"{sys.executable} -m aios train --config {config} --dataset-file {text} --output-dir {out} --steps {steps}"
    script = f"ip link set lo up; {train} {' '.join(more)} --processes {processes} >&2 && cat /proc/net/dev"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    [sent] = re.findall(r"lo:\s*(\d+)", done.stdout)
    return int(sent), [r for r in records if r["event"] == "train"], records[0]["parameters"]


def check_traffic(counts: tuple[int, ...]) -> None:
    """The bytes of a step: those of 12 steps less those of 4, which leaves out the start and the end."""
    with tempfile.TemporaryDirectory(prefix="aios-traffic-") as name:
        for sharding in ("none", "full"):
            for count in counts:
                few, _, params = run_here(Path(name), count, 4, "--sharding", sharding)
                many, _, _ = run_here(Path(name), count, 12, "--sharding", sharding)
                measured = (many - few) / 8
                computed = sum(traffic(params, count, count, sharding, gloo=True)) * count
                ratio = f"{measured / computed:.2f}" if computed else "-"
                sys.stdout.write(
                    f"| `{sharding}` | {count} | {computed / 1e6:,.1f} MB | {measured / 1e6:,.1f} MB | {ratio} |\n"
                )
                sys.stdout.flush()


def check_time() -> None:
    """The step of one process and of two against the formula: the computation, plus the traffic at the speed measured here.

    Processes on one CPU share its memory, so the computation is that of a process while another one computes the same,
    without communication. The traffic's speed is that of another run.
    """
    import statistics
    from concurrent.futures import ThreadPoolExecutor

    def step(name: str, count: int) -> float:
        (folder / name).mkdir()
        records = run_here(folder / name, count, 24, "--sharding", "none")[1]
        return float(statistics.median(record["step_seconds"] for record in records[4:]))

    with tempfile.TemporaryDirectory(prefix="aios-time-") as name, ThreadPoolExecutor() as pool:
        folder = Path(name)
        alone = step("alone", 1)
        side_by_side = statistics.mean(pool.map(step, ("left", "right"), (1, 1)))
        together = step("together", 2)
        _, records, params = run_here(folder, 2, 17, "--sharding", "none")
        reduced = statistics.median(
            record["step_seconds"] * record["communication"] for record in records[4:]
        )
        rate = sum(traffic(params, 2, 2, "none")) / reduced
        computed = side_by_side + sum(traffic(params, 2, 2, "none")) / rate
        sys.stdout.write(
            f"one process alone {alone * 1e3:.0f} ms, beside another {side_by_side * 1e3:.0f} ms, gradients summed at "
            f"{rate / 1e6:,.0f} MB/s; two processes: computed {computed * 1e3:.0f} ms, measured {together * 1e3:.0f} ms "
            f"({together / computed:.2f})\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["tables", "traffic", "time"], default="tables")
    parser.add_argument("--processes", default="1,2,4", help="for traffic")
    arguments = parser.parse_args()
    if arguments.what == "traffic":
        check_traffic(tuple(map(int, arguments.processes.split(","))))
    elif arguments.what == "time":
        check_time()
    else:
        tables()
        published()


if __name__ == "__main__":
    main()
