"""The start of a run on a large data set: seconds, memory and bytes until the first batch is read.

    python scripts/bench_data_start.py [--gigabytes 200] [--files 10000] [--processes 4]

The tokens are a sparse file: they have a size, and take no space. They are those of 10,000 small text files, so the files of the
data set are looked at as in a run, too. Each of `--processes` is a process of its own that reads its share of four steps. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PIECE = 1 << 17  # tokens of a document
LENGTH, STEPS, BATCH = 4096, 4, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=200)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        sys.stdout.write(json.dumps(start(arguments.folder, arguments.rank, arguments.processes)))
        return
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        make(Path(folder), arguments.files, int(arguments.gigabytes * 1e9))
        own = [sys.executable, __file__, "--folder", folder, "--processes", str(arguments.processes)]
        for rank in range(arguments.processes):
            done = subprocess.run([*own, "--rank", str(rank)], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            sys.stdout.write(
                f"process {rank}: {found['seconds']:.2f} s, {found['read'] / 1e6:.1f} MB read from files, "
                f"{found['mapped'] / 1e6:.1f} MB of tokens touched, {found['memory'] / 2**20:.0f} MiB more memory\n"
            )


def make(folder: Path, files: int, size: int) -> None:
    """Small text files, and a token cache for them whose tokens are a sparse file."""
    import numpy as np

    from trainer import data
    from trainer.config import DataSection
    from trainer.models.tokenizer import ByteTokenizer

    texts = folder / "texts"
    for number in range(files):
        path = texts / f"{number % 100:02d}" / f"{number:05d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text {number}\n" * 40, encoding="utf-8")
    settings = DataSection(dataset_file=texts, cache_dir=folder / "cache", max_length=LENGTH)
    data.load(settings, ByteTokenizer(), lambda line: None)
    manifest = next((folder / "cache").rglob("manifest.json"))
    content: dict[str, Any] = json.loads(manifest.read_text())
    pieces = size // 2 // PIECE
    ends = np.arange(1, pieces + 1, dtype=np.int64) * PIECE
    arrays = {"ends": ends, "byte_ends": ends, "documents": np.arange(pieces, dtype=np.int64)}
    for name, array in arrays.items():
        array.tofile(manifest.with_name(f"{name}-{content['files']}.bin"))
    with manifest.with_name(f"tokens-{content['files']}.bin").open("r+b") as file:
        file.truncate(int(ends[-1]) * 2)
    content |= {"tokens": int(ends[-1]), "pieces": pieces}
    manifest.write_text(json.dumps(content))


def start(folder: Path, rank: int, processes: int) -> dict[str, float]:
    """What one process reads until it has read its share of some steps."""
    from trainer import data
    from trainer.config import DataSection
    from trainer.models.tokenizer import ByteTokenizer

    tokenizer = ByteTokenizer()
    load, order_of = data.load, data.Order  # imports torch
    settings = DataSection(dataset_file=folder / "texts", cache_dir=folder / "cache", max_length=LENGTH)
    read, memory, began = status("io", "rchar"), resident(), time.perf_counter()
    stream = load(settings, tokenizer, lambda line: None).training
    order = order_of(1234, settings.dataset_chunk_size, rank=rank, processes=processes)
    for step in range(STEPS):
        for part in order.share(step * BATCH * processes, BATCH, 1, stream.blocks):
            stream.batch(part)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "read": status("io", "rchar") - read,
        "mapped": touched(),
        "memory": resident() - memory,
    }


def status(file: str, field: str) -> int:
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0])


def resident() -> int:
    """The peak of this process' own memory and of the files that it has mapped, in bytes."""
    return status("status", "VmHWM") * 1024


def touched() -> int:
    """The bytes of the mapped cache that are in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0] and ":" not in line.split(" ")[0]:
            inside = line.endswith(".bin")
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


if __name__ == "__main__":
    main()
