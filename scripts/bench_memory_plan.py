"""Compare the memory that a run plans with the memory that it then uses, for full training, LoRA and QLoRA on the CPU.

    python scripts/bench_memory_plan.py

The models have the shapes of Llama 3.2 1B, 3B and Llama 3.1 8B with a fraction of their width, layers and vocabulary. Each run is a
process of its own. What it uses is the peak of its resident memory less that before the model is built.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
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
    network(made).save_pretrained(folder)
    ByteTokenizer().save(folder)


def run(model: Path, method: str, folder: Path, length: int) -> tuple[int, int]:
    """The planned and the measured bytes of a run of three steps."""
    text = folder / "text.txt"
    text.write_text(
        "".join(f"{n} green bottles, hanging on the wall.\n" for n in range(4000)), encoding="utf-8"
    )
    output = folder / method
    run_options = [
        "--gradient-checkpointing",
        "--max-length",
        str(length),
        "--batch-size",
        "2",
        "--steps",
        "3",
    ]
    where = ["--eval-fraction", "0", "--device", "cpu", "--output-dir", output]
    start: list[Any] = [sys.executable, ROOT / "aios.py", "train", "--name", model, "--dataset-file", text]
    command: list[Any] = [*start, *METHODS[method], *run_options, *where]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    records = [
        json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    memory = records[0]["memory"]
    peak = [record for record in records if record["event"] == "train"][-1]["peak_memory_bytes"]
    return sum(memory["need"].values()), peak - memory["used"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    arguments = parser.parse_args()
    sys.stdout.write(
        "| shape | method | planned MiB | measured MiB | planned / measured |\n|---|---|---|---|---|\n"
    )
    for name in arguments.shape or SHAPES:
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch, "model")
            make_model(SHAPES[name], model)
            for method in METHODS:
                planned, measured = run(model, method, Path(scratch), arguments.length)
                row = (
                    name,
                    method,
                    f"{planned / 2**20:.0f}",
                    f"{measured / 2**20:.0f}",
                    f"{planned / measured:.2f}",
                )
                sys.stdout.write(f"| {' | '.join(row)} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
