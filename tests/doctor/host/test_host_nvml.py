"""Answers and failures of the NVIDIA management library."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from doctor.host import Absent, Found, Host, NvidiaDriver, Unreadable
from doctor.host.live import live_host
from doctor.host.nvml import parse_answer, read_driver
from doctor.host.nvml_child import ask


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
        self.NVML_ERROR_DRIVER_NOT_LOADED, self.NVML_ERROR_NOT_SUPPORTED = 9, 3
        self.NVML_ERROR_GPU_IS_LOST = 15
        self.lost: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            if name == "nvmlDeviceGetHandleByIndex" and arguments[0] in self.lost:
                error = self.NVMLError("GPU is lost")
                error.value = 15
                raise error
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


def read_from_fake(failing: dict[str, int], windows: bool = True) -> tuple[Any, FakeNvml]:
    fake = FakeNvml(failing)
    return parse_answer(json.dumps(ask(fake, windows))), fake


def test_the_driver_is_read_and_nvml_shut_down() -> None:
    reading, fake = read_from_fake({})
    assert isinstance(reading, Found) and isinstance(reading.value, NvidiaDriver) and fake.open == 0
    assert (reading.value.driver_version, reading.value.cuda_version) == ("581.80", (13, 1))
    assert [gpu.index for gpu in reading.value.gpus] == [0, 1]
    gpu = reading.value.gpus[1]
    assert (gpu.compute_capability, gpu.total_memory_bytes, gpu.driver_model) == ((8, 9), 24 * 2**30, "WDDM")


def test_the_driver_model_is_read_from_old_and_new_drivers() -> None:
    old, _ = read_from_fake({"nvmlDeviceGetDriverModel_v2": 13})
    assert old.value.gpus[0].driver_model == "TCC"
    linux, _ = read_from_fake({}, windows=False)
    assert linux.value.gpus[0].driver_model is None


def test_a_lost_gpu_is_named_and_the_others_are_read() -> None:
    fake = FakeNvml({})
    fake.lost = {0}
    reading = parse_answer(json.dumps(ask(fake, windows=False)))
    assert isinstance(reading, Found) and [gpu.index for gpu in reading.value.gpus] == [1]
    assert reading.value.complaints == ("GPU 0: NVML_ERROR_GPU_IS_LOST (Driver Not Loaded)",)
    fake.lost = {0, 1}
    assert isinstance(parse_answer(json.dumps(ask(fake, windows=False))), Unreadable)


def test_a_gpu_without_dedicated_memory() -> None:
    """The GB10 answers NVML_ERROR_NOT_SUPPORTED."""
    reading, _ = read_from_fake({"nvmlDeviceGetMemoryInfo": 3}, windows=False)
    assert [gpu.total_memory_bytes for gpu in reading.value.gpus] == [0, 0]


def test_a_missing_library_means_no_driver() -> None:
    assert read_from_fake({"nvmlInit": 12})[0] == Absent()


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetName"])
def test_a_driver_that_fails_is_named(function: str) -> None:
    reading, fake = read_from_fake({function: 9})
    expected = "NVML answered NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)"
    assert reading == Unreadable(expected) and fake.open == 0


def test_nvml_answers_here(host: Host) -> None:
    assert isinstance(host.nvml(), (Found, Absent, Unreadable))


LIBRARIES = {
    "hangs": "#include <unistd.h>\nint nvmlInitWithFlags(unsigned flags) { for (;;) sleep(1000); }",
    "crashes": "int nvmlInitWithFlags(unsigned flags) { *(volatile int *)0 = 1; return 0; }",
    "chatters": '#include <stdio.h>\nint nvmlInitWithFlags(unsigned flags) { puts("hello"); fflush(stdout); return 9; }',
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build a libnvidia-ml of the given kind, which every process started later finds first."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("needs Linux and a C compiler")

    def make(kind: str) -> None:
        source = tmp_path / "nvml.c"
        source.write_text(LIBRARIES[kind])
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", source], check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))

    return make


def test_a_crashing_library_does_not_crash_the_doctor(library: Any) -> None:
    library("crashes")
    assert live_host().nvml() == Unreadable("the NVML process ended with exit code -11")


def test_a_hanging_library_is_ended(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor.host.nvml.TIMEOUT", 0.5)
    library("hangs")
    host = live_host()
    reading = host.nvml()
    assert isinstance(reading, Unreadable) and reading.reason.startswith("the driver does not answer NVML")
    assert host.nvml() is reading, "asked once"


def test_output_of_the_library_is_ignored(library: Any) -> None:
    library("chatters")
    assert live_host().nvml() == Unreadable("NVML answered NVML_ERROR_DRIVER_NOT_LOADED (Driver Not Loaded)")


@pytest.mark.parametrize("output", ["", "garbage", "[]", '{"driver_version": 1}', "nul"])
def test_an_invalid_answer_is_unreadable(output: str) -> None:
    assert isinstance(parse_answer(output), Unreadable)


def test_a_python_that_cannot_be_started_is_reported() -> None:
    assert read_driver(lambda *_: Absent()) == Unreadable(
        "the driver does not answer NVML: this Python cannot be started"
    )
