"""What the NVIDIA management library tells, and how its failures are told."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from doctor.host import Absent, Found, Host, NvidiaDriver, Unreadable
from doctor.host.nvml import read_driver


class FakeNvml(types.ModuleType):
    """nvidia-ml-py with two GPUs; `failing` maps a function to the error that it raises."""

    class NVMLError(Exception):
        value = 0

        def __str__(self) -> str:
            return "Driver Not Loaded"

    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818 - its name there
        value = 12

    def __init__(self, failing: dict[str, int]) -> None:
        super().__init__("pynvml")
        self.failing, self.open = failing, 0
        self.NVML_ERROR_DRIVER_NOT_LOADED = 9

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            if name in self.failing:
                error = self.NVMLError_LibraryNotFound() if self.failing[name] == 12 else self.NVMLError()
                error.value = self.failing[name]
                raise error
            self.open += {"nvmlInit": 1, "nvmlShutdown": -1}.get(name, 0)
            return {
                "nvmlSystemGetDriverVersion": "581.80",
                "nvmlSystemGetCudaDriverVersion_v2": 13010,
                "nvmlDeviceGetCount": 2,
                "nvmlDeviceGetHandleByIndex": arguments and arguments[0],
                "nvmlDeviceGetName": "NVIDIA GeForce RTX 4090",
                "nvmlDeviceGetCudaComputeCapability": (8, 9),
                "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=24 * 2**30),
                "nvmlDeviceGetDriverModel_v1": [1, 1],
                "nvmlDeviceGetDriverModel_v2": [0, 1],
            }.get(name)

        return function


def read_from_fake(
    monkeypatch: pytest.MonkeyPatch, failing: dict[str, int], windows: bool = True
) -> tuple[Any, FakeNvml]:
    fake = FakeNvml(failing)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return read_driver(windows), fake


def test_the_driver_is_described_and_nvml_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, fake = read_from_fake(monkeypatch, {})
    assert isinstance(reading, Found) and isinstance(reading.value, NvidiaDriver) and fake.open == 0
    assert (reading.value.driver_version, reading.value.cuda_version) == ("581.80", (13, 1))
    assert [gpu.index for gpu in reading.value.gpus] == [0, 1]
    gpu = reading.value.gpus[1]
    assert (gpu.compute_capability, gpu.total_memory_bytes, gpu.driver_model) == ((8, 9), 24 * 2**30, "WDDM")


def test_the_driver_model_is_asked_as_each_driver_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = read_from_fake(monkeypatch, {"nvmlDeviceGetDriverModel_v2": 13})
    assert old.value.gpus[0].driver_model == "TCC"
    linux, _ = read_from_fake(monkeypatch, {}, windows=False)
    assert linux.value.gpus[0].driver_model is None


def test_no_library_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_from_fake(monkeypatch, {"nvmlInit": 12})[0] == Absent()


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetName"])
def test_a_driver_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    reading, fake = read_from_fake(monkeypatch, {function: 9})
    expected = "NVML answered NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)"
    assert reading == Unreadable(expected) and fake.open == 0


def test_nvml_answers_here(host: Host) -> None:
    assert isinstance(host.nvml(), (Found, Absent, Unreadable))
