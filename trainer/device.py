"""The device of a run, its precision, and its memory."""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from trainer.distributed.processes import ALONE, Processes
from trainer.errors import UserError

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


@dataclass(frozen=True)
class Precision:
    """What forward passes compute in. Weights and the loss stay in float32.

    Attributes:
        dtype: of matrix products and attention.
        scaled: float16 gradients, too small for their range, are scaled.
        note: why it is not what one might expect, or empty.
    """

    dtype: torch.dtype
    scaled: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def arithmetic(self) -> str:
        """What a GPU's matrix products compute in: the dtype's name, or tf32 where float32 may be rounded to it."""
        rounded = self.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
        return "tf32" if rounded else self.name

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """The device called `name`; "auto" is a GPU, or the CPU. Of several processes each has a GPU of its own.

    Raises:
        UserError: there is no such device, or all processes would be on it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if processes.count > 1 and ":" in name:
        raise UserError(
            f"training.device = {name}, and there are {processes.count} processes: each takes a GPU of its own. "
            "Use --device cuda, and the variable CUDA_VISIBLE_DEVICES to choose among GPUs."
        )
    try:
        device = torch.device(f"cuda:{processes.local_rank}" if name == "cuda" else name)
    except RuntimeError:
        raise UserError(f"There is no device {name!r}. Use auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        build = torch.version.cuda or "a CPU-only build"
        raise UserError(
            f"{name!r} is not there: this torch ({torch.__version__}, CUDA {build}) sees "
            f"{torch.cuda.device_count()} GPUs. Run `aios doctor` for the cause, or use --device cpu."
        )
    return device


def choose_precision(device: torch.device, amp: bool) -> Precision:
    """float32, or with `amp` the 16-bit type that the device really computes in."""
    if not amp:
        return Precision(torch.float32)
    if device.type == "cpu":
        return Precision(torch.bfloat16)
    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(torch.bfloat16)
    return Precision(torch.float16, scaled=True, note=f"{torch.cuda.get_device_name(device)} has no bfloat16")


def gpu_name(device: torch.device) -> str | None:
    """What the driver calls the GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def return_freed_memory() -> None:
    """Have glibc give large blocks back to the system when they are freed, for the rest of this process.

    By itself it keeps them for later, and where large and small ones take turns, as with checkpointed activations, it
    ends up with twice what is in use. Costs 10 to 30% of the processor's time in such a step (measured).
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_THRESHOLD, 1 << 20)


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory used so far: of the GPU by tensors, or of the host by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if (
        sys.platform == "linux"
    ):  # where getrusage tells the peak of whoever started this process, if that was higher
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        [kilobytes] = re.findall(r"VmHWM:\s*(\d+) kB", status)
        return int(kilobytes) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
