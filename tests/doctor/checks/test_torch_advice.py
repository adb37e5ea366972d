"""The line that a person is told to type brings a torch that this machine can run."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.checks.shared import cuda_build_commands, for_this_python
from doctor.host import Absent, Found, Gpu, Identity, NvidiaDriver, Unreadable
from doctor.probes.nvidia import NvidiaFacts

IDENTITY: dict[str, Any] = dict.fromkeys(("os_build", "executable", "prefix", "base_prefix", "site_packages", "home", "user"), "") | {
    "os": "windows", "architecture": "AMD64", "elevated": False, "wsl": False, "ansi_code_page": None,
    "oem_code_page": None, "python": "3.12.4", "python_implementation": "CPython", "python_bits": 64,
    "python_free_threaded": False, "python_platform": "win_amd64", "host_name": "",
}  # fmt: skip


def machine(driver: str, capability: tuple[int, int]) -> NvidiaFacts:
    gpu = Gpu(index=0, name="GPU", compute_capability=capability, total_memory_bytes=1)
    found = NvidiaDriver(driver_version=driver, cuda_version=None, gpus=(gpu,))
    return NvidiaFacts(Found(found), "nvml", None, (), None)


@pytest.mark.parametrize(
    ("driver", "capability", "changes", "wanted"),
    [
        ("581.80", (8, 9), {}, "torch==2.13.0 --torch-backend=cu130"),
        ("566.36", (8, 9), {}, "torch==2.13.0 --torch-backend=cu126"),
        ("581.80", (6, 1), {}, "torch==2.13.0 --torch-backend=cu126"),
        ("572.61", (12, 0), {}, "torch==2.11.0 --torch-backend=cu128"),
        ("581.80", (8, 9), {"python": "3.9.13"}, None),
        ("472.12", (8, 9), {}, None),
        ("580.95.05", (9, 0), {"os": "linux"}, "torch --torch-backend=cu130"),
    ],
)
def test_the_build_fits(
    driver: str, capability: tuple[int, int], changes: dict[str, Any], wanted: str | None
) -> None:
    commands = cuda_build_commands(Identity(**{**IDENTITY, **changes}), machine(driver, capability))
    if wanted is None:
        assert commands == ()
    else:
        assert commands[-1].endswith(f" {wanted}")


@pytest.mark.parametrize(("system", "program"), [("windows", "python"), ("linux", r'"C:\Zoë B\python.exe"')])
def test_the_commands_reached_whatever_python_the_terminal_found(system: str, program: str) -> None:
    """cmd and PowerShell agree on no way to call a program whose path holds a space: it has to be an argument."""
    identity = Identity(**{**IDENTITY, "os": system, "executable": r"C:\Zoë B\python.exe"})
    first, second = cuda_build_commands(identity, machine("581.80", (8, 9)))
    assert first == f"{program} -m pip install uv"
    assert second.startswith(f'{program} -m uv pip install --python "C:\\Zoë B\\python.exe" ')
    assert "--reinstall-package torch " in second
    by_pip = for_this_python(identity, "pip", "install x")
    assert by_pip == f'{program} -m pip --python "C:\\Zoë B\\python.exe" install x'


@pytest.mark.parametrize("driver", [Absent(), Unreadable("the driver is not answering")])
def test_without_a_driver_nothing_is_guessed(driver: Any) -> None:
    assert cuda_build_commands(Identity(**IDENTITY), NvidiaFacts(driver, "nvml", None, ("GPU",), None)) == ()
