"""The device that a plan is made for: one with a given memory, or this machine's."""

from __future__ import annotations

import sys

import psutil
import torch

from trainer.device import choose_device, gpu_name

GIB = 2**30


def lends_host_memory(device: torch.device) -> bool:
    """Whether the driver of this system gives a program memory of the host when the GPU's is used up, instead of failing."""
    return sys.platform == "win32" and device.type == "cuda"


def choose(name: str, vram: float | None) -> tuple[torch.device, str, int]:
    """The device, its name, and the bytes that a run can use on it.

    Args:
        name: auto, cpu, cuda or cuda:N; without effect if the memory is given.
        vram: memory of the GPU to plan for, in GiB; None for this machine's device.

    Raises:
        UserError: the device does not exist.
    """
    if vram is not None:
        return torch.device("cuda"), f"a GPU with {vram:g} GiB", int(vram * GIB)
    device = choose_device(name)
    if device.type == "cuda":
        return device, gpu_name(device) or str(device), torch.cuda.mem_get_info(device)[0]
    return device, "this machine", psutil.virtual_memory().available
