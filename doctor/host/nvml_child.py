"""Queries NVML, the driver's management library, and prints the answer as an entry of a recorded machine.

A separate program, killed if the library does not answer. It imports nothing from aios, so that it starts quickly.
"""

from __future__ import annotations

import json
import sys
from typing import Any

DRIVER_MODELS = ("WDDM", "TCC", "MCDM")  # nvmlDriverModel_t


def ask(nvml: Any, windows: bool) -> dict[str, Any] | None:
    """Return the driver and its GPUs, read with the module pynvml; None if there is no NVML, so no NVIDIA driver."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound:
        return None
    except nvml.NVMLError as error:
        return _unreadable(nvml, error)
    try:
        gpus, complaints = _gpus(nvml, windows)
        return {
            "driver_version": nvml.nvmlSystemGetDriverVersion(),
            "cuda_version": _cuda_version(nvml),
            "gpus": gpus,
            "complaints": complaints,
        }
    except nvml.NVMLError as error:
        return _unreadable(nvml, error)
    finally:
        nvml.nvmlShutdown()


def _cuda_version(nvml: Any) -> tuple[int, int] | None:
    try:
        version: int = nvml.nvmlSystemGetCudaDriverVersion_v2()  # 13000 for CUDA 13.0
    except nvml.NVMLError:
        return None
    return version // 1000, version % 1000 // 10


def _gpus(nvml: Any, windows: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the GPUs, and an error for each that does not answer. Raises NVMLError if none answers."""
    gpus, complaints, last_error = [], [], None
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(nvml, index, windows))
        except nvml.NVMLError as error:
            complaints.append(f"GPU {index}: {_named(nvml, error)}")
            last_error = error
    if last_error and not gpus:
        raise last_error
    return gpus, complaints


def _gpu(nvml: Any, index: int, windows: bool) -> dict[str, Any]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return {
        "index": index,
        "name": nvml.nvmlDeviceGetName(handle),
        "compute_capability": nvml.nvmlDeviceGetCudaComputeCapability(handle),
        "total_memory_bytes": _memory(nvml, handle),
        "driver_model": _driver_model(nvml, handle) if windows else None,
    }


def _memory(nvml: Any, handle: Any) -> int:
    try:
        total: int = nvml.nvmlDeviceGetMemoryInfo(handle).total
    except nvml.NVMLError as error:
        # A GPU that shares the computer's memory, such as the GB10, has none of its own
        if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        return 0
    return total


def _driver_model(nvml: Any, handle: Any) -> str | None:
    for get in (nvml.nvmlDeviceGetDriverModel_v2, nvml.nvmlDeviceGetDriverModel_v1):
        try:
            current, _pending = get(handle)
        except nvml.NVMLError:  # drivers before 2024 only have version 1
            continue
        return DRIVER_MODELS[current] if current < len(DRIVER_MODELS) else None
    return None


def _unreadable(nvml: Any, error: Any) -> dict[str, str]:
    return {"unreadable": f"NVML answered {_named(nvml, error)}"}


def _named(nvml: Any, error: Any) -> str:
    """Return the error's constant and message: "NVML_ERROR_GPU_IS_LOST (GPU is lost)"."""
    names = (
        name for name, value in vars(nvml).items() if name.startswith("NVML_ERROR_") and value == error.value
    )
    return f"{next(names, 'an unknown error')} ({error})"


def main() -> None:
    """Print the answer as one line of JSON in ASCII."""
    answer: dict[str, Any] | None
    try:
        import pynvml
    except ImportError as error:
        answer = {"unreadable": f"the Python package nvidia-ml-py cannot be imported: {error}"}
    else:
        answer = ask(pynvml, windows=sys.platform == "win32")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
