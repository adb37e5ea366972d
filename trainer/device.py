"""The device of a run, its precision and its memory."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from trainer.distributed.processes import ALONE, Processes
from trainer.errors import UserError

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Precision:
    """The precision of forward passes. Weights and the loss stay in float32.

    Attributes:
        dtype: of matrix products and attention.
        scaled: whether gradients need scaling, because they underflow in float16.
        note: a warning about the choice, or empty.
    """

    dtype: torch.dtype
    scaled: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def arithmetic(self) -> str:
        """The number format of a GPU's matrix products: the dtype's name, or tf32 if float32 may be rounded to it."""
        rounded = self.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
        return "tf32" if rounded else self.name

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """Return the device called `name`; "auto" is a GPU if there is one, else the CPU. Each process gets its own GPU.

    Raises:
        UserError: the device does not exist, or several processes would share it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if processes.count > 1 and ":" in name:
        raise UserError(
            f"training.device = {name} names one GPU, but each of the {processes.count} processes needs its own. "
            "Use --device cuda, and choose GPUs with the environment variable CUDA_VISIBLE_DEVICES."
        )
    try:
        device = torch.device(f"cuda:{processes.local_rank}" if name == "cuda" else name)
    except RuntimeError:
        raise UserError(f"Unknown device {name!r}. Use auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        build = torch.version.cuda or "a CPU-only build"
        raise UserError(
            f"Device {name!r} not found: this torch ({torch.__version__}, CUDA {build}) sees "
            f"{torch.cuda.device_count()} GPUs. Run `aios doctor` to find the cause, or use --device cpu."
        )
    return device


def choose_precision(device: torch.device, amp: bool | Literal["auto"]) -> Precision:
    """Return float32, or with `amp` the 16-bit type that the device supports in hardware. "auto": on a GPU."""
    if amp is False or (amp == "auto" and device.type == "cpu"):
        return Precision(torch.float32)
    if device.type == "cpu":
        return Precision(torch.bfloat16)
    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(torch.bfloat16)
    return Precision(
        torch.float16,
        scaled=True,
        note=f"{torch.cuda.get_device_name(device)} does not support bfloat16: using float16",
    )


def gpu_name(device: torch.device) -> str | None:
    """The driver's name for the GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def total_memory(device: torch.device) -> int:
    """Bytes of memory that the device has, free or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return psutil.virtual_memory().total


def return_freed_memory() -> None:
    """Make glibc return large blocks to the system when they are freed, for the rest of this process.

    By default it keeps them for reuse. When large and small blocks alternate, as with gradient checkpointing, it ends up
    holding twice the memory in use. Returning them costs 10 to 30% of the CPU time of such a step (measured).
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_THRESHOLD, 1 << 20)


def peak_memory_bytes(device: torch.device) -> int:
    """The peak memory so far: of tensors on the GPU, or of this process on the host."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # Not getrusage: its peak includes that of the parent process.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        [kilobytes] = re.findall(r"VmHWM:\s*(\d+) kB", status)
        return int(kilobytes) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
