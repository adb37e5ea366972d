"""Readings of a GPU come from the driver; a CPU, and a driver that does not know the GPU, give none."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from trainer.records.gpu import GpuReadings


class NVMLError(Exception):
    pass


def driver(**functions: Any) -> ModuleType:
    """A stand-in for the module pynvml, with one GPU whose UUID is GPU-1234."""
    module = ModuleType("pynvml")

    def by_uuid(uuid: str) -> str:
        if uuid != "GPU-1234":
            raise NVMLError("Not Found")
        return "the handle"

    known = {
        "NVMLError": NVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=87),
        "nvmlDeviceGetTemperature": lambda handle, sensor: 71,
        "nvmlDeviceGetPowerUsage": lambda handle: 168250,
    }
    for name, function in (known | functions).items():
        setattr(module, name, function)
    return module


def readings(monkeypatch: pytest.MonkeyPatch, module: ModuleType, uuid: str = "1234") -> GpuReadings:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    return GpuReadings(torch.device("cuda:0"))


def test_use_temperature_and_power_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings(monkeypatch, driver())
    assert found.read() == {"gpu_utilization": 0.87, "gpu_celsius": 71.0, "gpu_watts": 168.25}


def test_what_the_gpu_does_not_measure_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: str) -> None:
        raise NVMLError("Not Supported")

    found = readings(monkeypatch, driver(nvmlDeviceGetPowerUsage=unsupported))
    assert found.read() == {"gpu_utilization": 0.87, "gpu_celsius": 71.0}


def test_a_gpu_that_the_driver_does_not_know_has_no_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = readings(monkeypatch, driver(), uuid="9999")
    assert (found.read(), found.reason) == ({}, "NVML does not find this GPU: Not Found")


def test_a_cpu_has_no_readings() -> None:
    assert GpuReadings(torch.device("cpu")).read() == {}
