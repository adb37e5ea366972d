"""Compare the memory that a run plans with the memory that it then uses, for full training, LoRA and QLoRA on the CPU (Linux).

    python scripts/bench_memory_plan.py

The models have the shapes of Llama 3.2 1B, 3B and Llama 3.1 8B with a fraction of their width, layers and vocabulary, in files of
20 MB. Each run is a process of its own. What it uses is the peak of its anonymous memory less that before the model is built: the
kernel's RssAnon, without the pages of weight files that are mapped while they are read, which need no memory of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Width, width inside the MLP, layers, heads, heads of keys, vocabulary; the originals divided by 4, 4, 4, 1, 1, 8
SHAPES = {
    "1B": (512, 2048, 4, 32, 8, 16032),
    "3B": (768, 2048, 7, 24, 8, 16032),
    "8B": (1024, 3584, 8, 32, 8, 16032),
}
METHODS: dict[str, list[str]] = {
    "full": [],
    "lora": ["--use-peft"],
    "qlora": ["--use-peft", "--load-in-4bit"],
}


def make_model(shape: tuple[int, ...], folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from trainer.models.tokenizer import ByteTokenizer

    width, inner, layers, heads, key_heads, vocabulary = shape
    config: Any = LlamaConfig
    made = config(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        vocab_size=vocabulary,
        max_position_embeddings=4096,
        bos_token_id=256,
        eos_token_id=256,
    )
    network: Any = LlamaForCausalLM
    network(made).save_pretrained(folder, max_shard_size="20MB")
    ByteTokenizer().save(folder)


class Watch:
    """The peaks of a process's anonymous memory: until its model is loaded, and after that. `start` is before the model."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._status = Path(f"/proc/{process.pid}/status")
        self.start = self.loading = self.training = 0
        self._loaded, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _anonymous(self) -> int:
        try:
            found = re.search(r"RssAnon:\s*(\d+) kB", self._status.read_text(encoding="ascii"))
        except OSError:  # it has ended
            return 0
        return int(found[1]) * 1024 if found else 0

    def _look(self) -> None:
        while not self._done.wait(0.001):
            now = self._anonymous()
            if self._loaded.is_set():
                self.training = max(self.training, now)
            else:
                self.loading = max(self.loading, now)

    def line(self, text: str) -> None:
        """A line that the run printed."""
        if text.startswith("INFO: memory: a step needs"):
            self.start = self._anonymous()
            self._thread.start()
        elif text.startswith("INFO: model:"):
            self._loaded.set()

    def end(self) -> None:
        self._done.set()
        self._thread.join()


def run(model: Path, method: str, folder: Path, length: int) -> tuple[int, int, int, int]:
    """Of a run of three steps: the planned bytes, the measured ones, and of these the planned weights and the peak of loading."""
    text = folder / "text.txt"
    text.write_text(
        "".join(f"{n} green bottles, hanging on the wall.\n" for n in range(4000)), encoding="utf-8"
    )
    output = folder / method
    run_options = [
        "--gradient-checkpointing",
        "--batch-size",
        "2",
        "--steps",
        "3",
        "--eval-fraction",
        "0",
        "--device",
        "cpu",
    ]
    start: list[Any] = [sys.executable, ROOT / "aios.py", "train", "--name", model, "--dataset-file", text]
    command: list[Any] = [
        *start,
        *METHODS[method],
        *run_options,
        "--max-length",
        length,
        "--output-dir",
        output,
    ]
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch, lines = Watch(process), []
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        watch.line(line)
    if process.wait():
        sys.exit("".join(lines))
    watch.end()
    records = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    need = json.loads(records[0])["memory"]["need"]
    peak = max(watch.loading, watch.training)
    return sum(need.values()), peak - watch.start, need["weights"], watch.loading - watch.start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    arguments = parser.parse_args()
    sys.stdout.write(
        "| shape | method | planned MiB | measured MiB | planned / measured | planned weights MiB | peak while loading MiB |\n"
        f"{'|---' * 7}|\n"
    )
    for name in arguments.shape or SHAPES:
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch, "model")
            make_model(SHAPES[name], model)
            for method in METHODS:
                planned, measured, weights, loading = run(model, method, Path(scratch), arguments.length)
                sizes = [f"{size / 2**20:.0f}" for size in (planned, measured, weights, loading)]
                row = [name, method, *sizes[:2], f"{planned / measured:.2f}", *sizes[2:]]
                sys.stdout.write(f"| {' | '.join(row)} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
