"""Peak memory of each process of a run with `sharding: full`, while its model is built, saved and loaded.

    python scripts/bench_sharding.py [--processes 2,4] [--layers 17]

Each process builds a Llama of at least 1 GiB in float32, with AdamW's two moments, saves it as a checkpoint, loads that
again, and loads the weights of a Hugging Face folder. A phase's peak is above the process' memory when it was idle: with all
modules imported, a process group, and a small model sharded. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peak_memory import return_free_memory

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

VOCABULARY = 32_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", default="2,4")
    parser.add_argument("--layers", type=int, default=17)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        work(arguments.folder, arguments.layers)
        return
    for count in map(int, arguments.processes.split(",")):
        with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
            show(count, measure(count, arguments.layers, Path(folder)))


def measure(count: int, layers: int, folder: Path) -> list[dict[str, Any]]:
    """The figures of each process, in MiB."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    own = [str(Path(__file__)), "--folder", str(folder), "--layers", str(layers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*torchrun, *own], env=environment, check=True)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]


def show(count: int, found: list[dict[str, Any]]) -> None:
    state = found[0]["state"]
    sys.stdout.write(
        f"{count} processes: weights {state / 3:,.0f} MiB, with AdamW {state:,.0f} MiB, of each {state / count:,.0f} MiB; "
        f"idle {max(each['idle'] for each in found):,.0f} MiB\n"
    )
    for phase, limit in found[0]["limits"].items():
        peak = max(each["peaks"][phase] for each in found)
        sys.stdout.write(
            f"  {phase:<24} {peak:8,.0f} MiB above idle, {peak / limit:.2f} of {limit:,.0f} MiB\n"
        )


def work(folder: Path, layers: int) -> None:
    """One process."""
    import torch
    from transformers import AutoConfig

    from trainer.config import TrainConfig, TrainingSection
    from trainer.distributed.processes import process_group
    from trainer.learning.optimizer import make_optimizer, set_entries
    from trainer.learning.position import Position
    from trainer.models.tokenizer import ByteTokenizer
    from trainer.survival.checkpoint import CheckpointFolder, restore
    from trainer.survival.saved_state import SavedState
    from trainer.survival.sharded_checkpoint import ShardedCheckpoints

    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    config = AutoConfig.for_model("llama", hidden_size=1024, intermediate_size=2752, num_hidden_layers=layers,
                                  num_attention_heads=16, vocab_size=VOCABULARY, tie_word_embeddings=False)  # fmt: skip
    small = AutoConfig.for_model("llama", hidden_size=64, intermediate_size=64, num_hidden_layers=1,
                                 num_attention_heads=4, vocab_size=99)  # fmt: skip
    with process_group() as processes:
        sharded(small, None, processes)
        gc.collect()
        idle = memory("VmRSS")
        peaks: dict[str, float] = {}
        checkpoints = CheckpointFolder(folder / "checkpoints", 3)

        def build_and_save() -> int:
            network = measured(peaks, "build", idle, lambda: sharded(config, None, processes))
            optimizer = make_optimizer(network, TrainingSection())
            set_entries(optimizer, dict(moments(optimizer)))
            parts = ShardedCheckpoints(checkpoints, processes, network, ByteTokenizer())

            def save(step: int, background: bool) -> None:
                state = SavedState(
                    position=Position(step),
                    processes=processes.count,
                    scaler={},
                    config=TrainConfig().model_dump(mode="json", by_alias=False),
                )
                parts.begin(state, optimizer, cpu, background)
                parts.finish()

            measured(peaks, "save", idle, lambda: save(1, False))
            measured(peaks, "save in the background", idle, lambda: save(2, True))
            return sum(parameter.numel() for parameter in network.parameters())

        total = build_and_save()
        gc.collect()
        found = checkpoints.folder / "step-00000001"

        def resume() -> Any:
            network = sharded(config, found, processes)
            optimizer = make_optimizer(network, TrainingSection())
            restore(found, optimizer, scaler, cpu, processes.rank)
            return network, optimizer

        measured(peaks, "load", idle, resume)
        gc.collect()
        if processes.first:
            from trainer import export

            export.LARGEST_FILE = 256 << 20
            before = memory("VmRSS")
            measured(peaks, "export, 256 MiB a file", before, lambda: export.export(
                found, folder / "model", merge=False, dtype=torch.float32, say=lambda line: None))  # fmt: skip
        else:
            peaks["export, 256 MiB a file"] = 0.0
        processes.sum(0)
        measured(peaks, "load Hugging Face", idle, lambda: sharded(config, folder / "model", processes))
        state = 3 * total * 4 / 2**20
        share = state / processes.count
        limits = {
            "build": share, "save": share, "save in the background": 2 * share, "load": share,
            "export, 256 MiB a file": 2 * 256.0, "load Hugging Face": share,
        }  # fmt: skip
        content = {"idle": idle, "state": state, "peaks": peaks, "limits": limits}
        (folder / f"{processes.rank}.json").write_text(json.dumps(content))


def moments(optimizer: Any) -> Iterator[tuple[str, Any]]:
    """AdamW's state, which a step would make."""
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        for slot in ("exp_avg", "exp_avg_sq"):
            yield f"{index}.{slot}", torch.ones_like(parameter.detach())


def sharded(config: Any, folder: Path | None, processes: Any) -> Any:
    """A model of which this process holds a shard."""
    import torch

    from trainer.learning.sharded_objective import Shards
    from trainer.models import sharded_model

    built = sharded_model.build(config, folder, 0, processes.rank, processes.count)
    shards = Shards(built.network, torch.device("cpu"), processes.count, prepare=built.rows.restore)
    built.load()
    return shards.model


def measured(peaks: dict[str, float], phase: str, idle: float, work: Callable[[], Any]) -> Any:
    """Call a function, and note the peak of this process' memory meanwhile, above when it was idle."""
    return_free_memory()  # what an earlier phase has freed does not count
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    result = work()
    peaks[phase] = memory("VmHWM") - idle
    return result


def memory(field: str) -> float:
    """A field of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in lines)
    return int(fields[field].split()[0]) / 1024


if __name__ == "__main__":
    main()
