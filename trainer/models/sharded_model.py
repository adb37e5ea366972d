"""A model for several processes that share its weights: built and loaded without any process holding all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig

from doctor.bounded import read_beginning
from trainer.distributed import shard_files
from trainer.models import activations, trial, weights
from trainer.models.row_shards import ReadsWeightsError, RowShards

CausalLM: Any = AutoModelForCausalLM
BEGINNING = 1 << 20  # bytes of a file that are compared
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class NotInPartsError(Exception):
    """The weights of a model cannot be built or read in parts, for this reason: each process must read all of them."""


@dataclass(frozen=True, kw_only=True)
class ShardedModel:
    """A model before it is sharded.

    Attributes:
        rows: gives its parameters their memory when they are sharded.
        files: that its weights are in; none if they are new.
        sources: the name in these files of each parameter and buffer, by its name in the model.
    """

    network: Any
    rows: RowShards
    files: tuple[Path, ...] = ()
    sources: dict[str, str]

    def fingerprint(self) -> dict[str, str]:
        """What tells models apart: the random state after its weights were drawn, and the sizes and beginnings of its files."""
        drawn = torch.get_rng_state().numpy().tobytes()
        return {
            "random state": hashlib.sha256(drawn).hexdigest()[:16],
            **{
                file.name: hashlib.sha256(
                    f"{file.stat().st_size} ".encode() + read_beginning(file, BEGINNING)
                ).hexdigest()[:16]
                for file in self.files
            },
        }

    def load(self) -> None:
        """Read the weights of the sharded model, each process those that it holds."""
        state = self.network.state_dict(keep_vars=True)
        shard_files.load(self.files, {source: state[name].detach() for name, source in self.sources.items()})


def build(config: Any, folder: Path | None, seed: int, rank: int, count: int) -> ShardedModel:
    """Build a model, in float32, of which each process holds one of `count` parts.

    Args:
        config: a transformers configuration, with the attention backend attached.
        folder: to load weights from; None to initialize them.
        rank: which part this process holds.

    Raises:
        UserError: as `model.build`.
        NotInPartsError: this model can only be built as a whole.
    """
    trial.check_quantization(config)
    if folder and getattr(config, "quantization_config", None):
        raise NotInPartsError("its weights are quantized, and dequantized while they are loaded")
    torch.manual_seed(seed)
    rows = RowShards(rank, count, values=folder is None)
    problem = ""
    with trial.build_errors(f"weights in {folder}" if folder else trial.ARCHITECTURE):
        try:
            with rows.building():
                network = CausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
        except ReadsWeightsError as error:
            problem = f"its code computes with its weights while it is built ({error})"
    if problem:
        raise NotInPartsError(problem)
    activations.fuse(network)
    if folder is None:
        return ShardedModel(network=network, rows=rows, sources={})
    torch.manual_seed(seed)  # as if nothing had been initialized
    network.eval()
    with suppress(OSError, ValueError):  # a model may have none
        network.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    weights.check(folder)
    files = tuple(weights.files(folder))
    if any(file.suffix != shard_files.SUFFIX for file in files):
        raise NotInPartsError("its weights are not in safetensors")
    sources = dict(_sources(network, shard_files.describe(files)))
    return ShardedModel(network=network, rows=rows, files=files, sources=sources)


def _sources(network: Any, saved: dict[str, shard_files.Saved]) -> Iterator[tuple[str, str]]:
    """The name of each tensor of a model, and its name in the files."""
    aliases: dict[int, list[str]] = {}
    state: dict[str, Tensor] = network.state_dict(keep_vars=True)
    for name, tensor in state.items():
        aliases.setdefault(id(tensor), []).append(name)
    prefix = f"{network.base_model_prefix}."
    for names in aliases.values():
        tensor = state[names[0]]
        others = [name.removeprefix(prefix) for name in names] + [prefix + name for name in names]
        found = next((name for name in (*names, *others) if name in saved), None)
        if found is None or saved[found].shape != tensor.shape or saved[found].dtype not in FLOATS:
            raise NotInPartsError(f"its files do not hold {names[0]} under that name and in its shape")
        yield names[0], found
