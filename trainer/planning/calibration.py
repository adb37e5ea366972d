"""Calibrates a plan by two small measured steps of the model's first layers on the device itself.

What a process needs is a line over the tensors of a step: a fixed part, for libraries and their buffers, and a factor, for what
the allocator holds besides the tensors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import torch

from doctor.bounded import parse_json
from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.planning.changes import with_keys
from trainer.planning.step import StepMemory, with_layers
from trainer.survival.memory_estimate import OVERHEAD, MemoryEstimate

LAYERS = 2
LENGTH = 512  # tokens in a sequence
TENSORS = 48 << 20  # bytes of activations of the smaller step: more than the noise of the measurement
LARGER = 4  # times as many sequences in the larger step
USUAL = (0.5, 3.0)  # factors outside this range come from other programs on the device
COMMAND = (sys.executable, "-X", "utf8", "-m", "trainer.planning.measured_step")


@dataclass(frozen=True)
class Calibration:
    """How the memory of a step follows from its tensors.

    Attributes:
        factor: of the bytes of tensors besides weights, gradients and optimizer state.
        fixed: bytes in addition.
    """

    factor: float
    fixed: int

    def apply(self, estimate: MemoryEstimate, device: torch.device) -> MemoryEstimate:
        if estimate.activations is None:
            return estimate
        tensors = max(0, estimate.activations - OVERHEAD[device.type])
        return replace(
            estimate,
            activations=max(0, int(self.factor * tensors) + self.fixed),
            logits=int(self.factor * estimate.logits),
        )


@dataclass(frozen=True)
class Calibrated:
    """A `StepMemory` whose estimates are calibrated."""

    step: StepMemory
    calibration: Calibration

    @property
    def model_config(self) -> Any:
        return self.step.model_config

    @property
    def device(self) -> torch.device:
        return self.step.device

    def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
        return self.calibration.apply(self.step(config, length), self.device)


def fit(tensors: tuple[int, int], measured: tuple[int, int]) -> Calibration:
    """The line through two steps.

    Args:
        tensors: their estimated bytes, without weights, gradients and optimizer state.
        measured: their measured bytes, without these.

    Raises:
        RunError: the measurement is not credible.
    """
    factor = (measured[1] - measured[0]) / (tensors[1] - tensors[0])
    if not USUAL[0] <= factor <= USUAL[1]:
        raise RunError(
            f"--measure: two steps whose tensors need {tensors[0] / 2**20:.0f} and {tensors[1] / 2**20:.0f} MiB took "
            f"{measured[0] / 2**20:.0f} and {measured[1] / 2**20:.0f} MiB, which is not credible. Close other programs that use "
            "the device, or plan without --measure."
        )
    return Calibration(factor, int(measured[0] - factor * tensors[0]))


def calibrate(config: TrainConfig, step: StepMemory) -> Calibrated:
    """Measure two steps in processes of their own.

    Raises:
        RunError: a step failed.
    """
    positions = getattr(step.model_config.get_text_config(), "max_position_embeddings", None)
    length = min(LENGTH, positions or LENGTH)
    layers = step.model_config.get_text_config(decoder=True).num_hidden_layers
    small = StepMemory(with_layers(step.model_config, min(LAYERS, layers)), step.device)
    usual = with_keys(
        config,
        {
            "model": {"load_in_4bit": False, "load_in_8bit": False},
            "data": {"max_length": length},
            "training": {"use_chunked_training": False, "offload_activations": False, "optimizer": "adamw"},
        },
    )
    alone = with_keys(usual, {"training": {"batch_size": 1, "gradient_accumulation_steps": 1}})
    rows = max(1, -(-TENSORS // max(1, _tensors(small(alone), step.device))))
    of_two = [with_keys(alone, {"training": {"batch_size": count}}) for count in (rows, LARGER * rows)]
    estimates = [small(each) for each in of_two]
    measured = [_measure(each, small) - found.counted for each, found in zip(of_two, estimates, strict=True)]
    tensors = [_tensors(found, step.device) for found in estimates]
    return Calibrated(step, fit((tensors[0], tensors[1]), (measured[0], measured[1])))


def _tensors(estimate: MemoryEstimate, device: torch.device) -> int:
    return (estimate.activations or 0) - OVERHEAD[device.type] + estimate.logits + estimate.carry


def _measure(config: TrainConfig, step: StepMemory) -> int:
    """Bytes that a process with a step needs, above those before it built the model."""
    request = {
        "config": config.model_dump(mode="json", by_alias=False),
        "model_config": {**step.model_config.to_dict(), "model_type": step.model_config.model_type},
        "device": str(step.device),
    }
    done = subprocess.run(
        COMMAND, input=json.dumps(request), capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise RunError(f"--measure: a step could not be measured: {last[0]} Plan without --measure.")
    return int(parse_json(done.stdout.splitlines()[-1])["bytes"])
