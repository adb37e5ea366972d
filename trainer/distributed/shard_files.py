"""Tensors in safetensors files, written and read by several processes with torch.distributed.checkpoint.

Each process writes the part of a sharded tensor that it holds, and reads the part that it needs, whatever the numbers of
processes then and now. A file states in its header which rows of a tensor it has. Nothing is pickled.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver

SMALLEST_FILE = 16 << 20  # bytes of a process; DCP copies one file at a time in memory
FILES = 64  # of each process, at most
SUFFIX = ".safetensors"
FOLDER = "shards"  # in a checkpoint
OPTIMIZER = "optimizer."  # prefix of the optimizer's tensors


@dataclass(frozen=True)
class Saved:
    """A tensor in files: its whole shape and its dtype."""

    shape: torch.Size
    dtype: torch.dtype


def supported() -> bool:
    """Whether this torch writes safetensors from several processes: 2.9 and newer do."""
    return _version() >= (2, 9)


def _version() -> tuple[int, int]:
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def save(folder: Path, tensors: Mapping[str, Tensor], group: Any = None) -> None:
    """Write tensors to a folder. All processes of the run take part, each with its part of every tensor.

    Args:
        group: a process group over the CPU; needed in a thread, because the other one is in use meanwhile.

    Raises:
        RuntimeError: a process could not write.
    """
    alone = not dist.is_initialized()
    state_dict_saver.save(
        dict(tensors), storage_writer=_writer(folder, tensors), process_group=group, no_dist=alone
    )


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in the host's memory, sharded in the same way."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def describe(files: Sequence[Path]) -> dict[str, Saved]:
    """The tensors in files, from their headers."""
    entries: Mapping[str, Any] = _reader(files).read_metadata().state_dict_metadata
    return {name: Saved(entry.size, entry.properties.dtype) for name, entry in entries.items()}


def load(files: Sequence[Path], targets: Mapping[str, Tensor]) -> None:
    """Read tensors into targets of the same shape, sharded or not, of any dtype. A process reads only the part that it holds."""
    if targets:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a single process reads, as it should
            state_dict_loader.load(dict(targets), storage_reader=_reader(files), no_dist=True)


def read(files: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Whole tensors on the CPU; all of them, or those with these names."""
    found = describe(files)
    targets = {
        name: torch.empty(saved.shape, dtype=saved.dtype)
        for name, saved in found.items()
        if names is None or name in names
    }
    load(files, targets)
    return targets


def _writer(folder: Path, tensors: Mapping[str, Tensor]) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    return HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=_placed(tensors), save_distributed=True)


def _placed(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of the file that each tensor is written to, from 1; the same in all processes."""
    parts = dist.get_world_size() if dist.is_initialized() else 1
    total = sum(tensor.nbytes for tensor in tensors.values())
    limit = max(SMALLEST_FILE * parts, -(-total // FILES))
    placed, number, size = {}, 1, 0
    for name, tensor in tensors.items():
        if size and size + tensor.nbytes > limit:
            number, size = number + 1, 0
        placed[name], size = number, size + tensor.nbytes
    return placed


def _reader(files: Sequence[Path]) -> Any:
    from torch.distributed.checkpoint.filesystem import FileSystem
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    class TheseFiles(FileSystem):
        """Lists only the given files: a folder may have others with the same tensors."""

        def ls(self, path: str | os.PathLike[str]) -> list[str]:
            return [str(file) for file in files]

    reader = HuggingFaceStorageReader(str(files[0].parent))
    reader.fs = TheseFiles()
    return reader
