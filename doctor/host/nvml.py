"""The NVIDIA driver through its management library, NVML."""

from __future__ import annotations

from typing import Any

from doctor.host.base import Gpu, NvidiaDriver
from doctor.host.readings import Absent, Found, Reading, Unreadable

DRIVER_MODELS = ("WDDM", "TCC", "MCDM")  # nvmlDriverModel_t


def read_driver(windows: bool) -> Reading[NvidiaDriver]:
    """The driver and its GPUs. Absent: there is no NVML, so no NVIDIA driver. May hang where a driver is wedged."""
    try:
        import pynvml
    except ImportError as error:
        return Unreadable(f"the Python package nvidia-ml-py cannot be imported: {error}")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return Absent()
    except pynvml.NVMLError as error:
        return Unreadable(_explain(pynvml, error))
    try:
        return Found(_read(pynvml, windows))
    except pynvml.NVMLError as error:
        return Unreadable(_explain(pynvml, error))
    finally:
        pynvml.nvmlShutdown()


def _read(nvml: Any, windows: bool) -> NvidiaDriver:
    return NvidiaDriver(
        driver_version=nvml.nvmlSystemGetDriverVersion(),
        cuda_version=_cuda_version(nvml),
        gpus=tuple(_gpu(nvml, index, windows) for index in range(nvml.nvmlDeviceGetCount())),
    )


def _cuda_version(nvml: Any) -> tuple[int, int] | None:
    try:
        version: int = nvml.nvmlSystemGetCudaDriverVersion_v2()  # 13000 for CUDA 13.0
    except nvml.NVMLError:
        return None
    return version // 1000, version % 1000 // 10


def _gpu(nvml: Any, index: int, windows: bool) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        compute_capability=tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        total_memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).total,
        driver_model=_driver_model(nvml, handle) if windows else None,
    )


def _driver_model(nvml: Any, handle: Any) -> str | None:
    for ask in (nvml.nvmlDeviceGetDriverModel_v2, nvml.nvmlDeviceGetDriverModel_v1):
        try:
            current, _pending = ask(handle)
        except nvml.NVMLError:  # drivers before 2024 know version 1 alone
            continue
        return DRIVER_MODELS[current] if current < len(DRIVER_MODELS) else None
    return None


def _explain(nvml: Any, error: Any) -> str:
    names = (
        name for name, value in vars(nvml).items() if name.startswith("NVML_ERROR_") and value == error.value
    )
    return f"NVML answered {next(names, 'an unknown error')} ({error})"
