"""Collects the facts for `aios doctor cluster`: a program of its own, which torchrun starts on each machine.

    python -m trainer.distributed.cluster_probe [FOLDER]

Each process describes itself, and the machines measure the links between them. The first one prints a JSON document.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pynvml
import torch
import torch.distributed as dist

from doctor.bounded import parse_json
from trainer.distributed.agreement import appears, shared_mark
from trainer.distributed.processes import Processes, process_group
from trainer.errors import RunError, UserError

SIZE = 16 << 20  # bytes of a message that measures bandwidth
ROUNDS = 4  # messages of this size; and for latency, of 8 bytes, five times as many


def describe(processes: Processes, folder: Path | None, seen: bool | None) -> dict[str, Any]:
    """This process and its machine."""
    cuda = torch.cuda.is_available()
    there = folder or Path.cwd()
    while not there.exists() and there.parent != there:
        there = there.parent
    return {
        "rank": processes.rank,
        "host": platform.node(),
        "aios": _version("aios-doctor"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": _version("transformers"),
        "system": platform.system(),
        "backend": dist.get_backend() if processes.count > 1 else "none",
        "gpu": torch.cuda.get_device_name(processes.local_rank) if cuda else None,
        "gpus": torch.cuda.device_count() if cuda else 0,
        "driver": _driver(),
        "free_bytes": shutil.disk_usage(there).free,
        "shared": seen,
    }


def clocks(processes: Processes) -> list[float]:
    """How far each process' clock is ahead of the first one's, in seconds; by rank.

    All read their clocks at the end of a barrier, which ends within milliseconds everywhere.
    """
    processes.sum(0)
    own = torch.tensor(time.time(), dtype=torch.float64)
    read = [float(each) for each in processes.all_gather(own)]
    return [each - read[0] for each in read]


def links(processes: Processes, hosts: list[str]) -> list[dict[str, Any]]:
    """The links of a ring of machines, measured one after the other by the first process of each: MB/s and milliseconds."""
    leaders = [hosts.index(host) for host in dict.fromkeys(hosts)]
    measured: list[dict[str, Any]] = []
    ring = [
        *itertools.pairwise(leaders),
        *([(leaders[-1], leaders[0])] if len(leaders) > 2 else []),
    ]
    for sender, receiver in ring:
        big, small = _exchange(processes, sender, receiver, SIZE, ROUNDS), 0.0
        small = _exchange(processes, sender, receiver, 8, 5 * ROUNDS)
        seconds = processes.all_gather(torch.tensor([big, small], dtype=torch.float64))[sender].tolist()
        measured.append(
            {
                "from": hosts[sender],
                "to": hosts[receiver],
                "megabytes_per_second": SIZE / seconds[0] / 1e6,
                "milliseconds": seconds[1] * 1e3,
            }
        )
    return measured


def _exchange(processes: Processes, sender: int, receiver: int, size: int, rounds: int) -> float:
    """The seconds of one message in one direction: half of one there and back."""
    processes.sum(0)
    if processes.rank not in (sender, receiver):
        return 0.0
    message = torch.zeros(size, dtype=torch.uint8)
    times = []
    for _ in range(rounds + 1):  # the first one opens the connection
        began = time.perf_counter()
        if processes.rank == sender:
            dist.send(message, receiver)
            dist.recv(message, receiver)
        else:
            dist.recv(message, sender)
            dist.send(message, sender)
        times.append((time.perf_counter() - began) / 2)
    return min(times[1:])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:  # no driver, or one that does not answer
        return None


def _main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with process_group() as processes:
        seen = None
        if folder:
            with shared_mark(processes, folder) as mark:
                seen = appears(mark)
                processes.sum(0)  # until all have looked
        described = processes.all_texts(json.dumps(describe(processes, folder, seen)))
        rows = [parse_json(text) for text in described]
        for row, ahead in zip(rows, clocks(processes), strict=True):
            row["clock_seconds"] = ahead
        found = links(processes, [row["host"] for row in rows])
        if processes.first:
            sys.stdout.write(json.dumps({"processes": rows, "links": found}))
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        _main()
    except (UserError, RunError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    sys.stdout.flush()
    os._exit(0)  # torch sometimes aborts while it shuts down
