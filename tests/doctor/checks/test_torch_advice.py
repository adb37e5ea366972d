"""The suggested commands install packages that run on this machine: the resolver's choice and the pip command."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from doctor.checks.shared import for_this_python
from doctor.checks.wheel_advice import Advice, advice, reinstall
from doctor.host import Absent, Found, Gpu, Identity, NvidiaDriver, Unreadable
from doctor.probes.nvidia import NvidiaFacts
from wheels.catalogue import shipped_catalogue
from wheels.machine import TorchBuild

PYTHON = r"C:\aios\.venv\Scripts\python.exe"
IDENTITY: dict[str, Any] = dict.fromkeys(("os_build", "prefix", "base_prefix", "site_packages", "home", "user"), "") | {
    "os": "windows", "architecture": "AMD64", "elevated": False, "wsl": False, "ansi_code_page": None,
    "oem_code_page": None, "python": "3.12.4", "python_implementation": "CPython", "python_bits": 64,
    "python_free_threaded": False, "python_platform": "win_amd64", "host_name": "", "executable": PYTHON,
}  # fmt: skip
LINUX = {
    "os": "linux",
    "python_platform": "linux_x86_64",
    "executable": "/opt/aios/bin/python",
    "glibc": (2, 39),
}


def machine(driver: str, capability: tuple[int, int]) -> NvidiaFacts:
    gpu = Gpu(index=0, name="GPU", compute_capability=capability, total_memory_bytes=1)
    found = NvidiaDriver(driver_version=driver, cuda_version=None, gpus=(gpu,))
    return NvidiaFacts(Found(found), "nvml", None, (), None)


def torch_for(tag: str | None, version: str = "2.13.0") -> TorchBuild:
    return TorchBuild(Version(version), tag)


def advised(
    package: str, this: TorchBuild | None = None, gpu: tuple[int, int] = (8, 9), **changes: Any
) -> Advice:
    found = advice(
        package, Identity(**{**IDENTITY, **changes}), machine("581.80", gpu), this, shipped_catalogue()
    )
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("driver", "capability", "changes", "wanted"),
    [
        ("581.80", (8, 9), {}, "torch==2.14.1+cu130"),
        ("566.36", (8, 9), {}, "torch==2.14.1+cu126"),
        ("581.80", (6, 1), {}, "torch==2.14.1+cu126"),
        ("572.61", (12, 0), {}, "torch==2.11.0+cu128"),
        ("472.12", (8, 9), {}, "torch==2.7.1+cu118"),
        ("581.80", (8, 9), {"python": "3.8.13"}, None),
        ("446.14", (8, 9), {}, None),
        ("580.95.05", (9, 0), LINUX, "torch==2.14.1+cu130"),
    ],
)
def test_the_suggested_build_runs_on_the_machine(
    driver: str, capability: tuple[int, int], changes: dict[str, Any], wanted: str | None
) -> None:
    found = advice(
        "torch", Identity(**{**IDENTITY, **changes}), machine(driver, capability), None, shipped_catalogue()
    )
    assert found is not None
    if wanted is None:
        assert found.fix is None
        assert found.hint.startswith("No build of torch fits this machine: ")
        return
    assert found.fix is not None
    assert found.fix.commands == ("aios install torch",)
    (by_hand,) = found.fix.by_hand
    tag = wanted.rpartition("+")[2]
    assert by_hand.endswith(f'install "{wanted}" --index-url https://download.pytorch.org/whl/{tag}')
    assert wanted.replace("==", " ") in found.hint


@pytest.mark.parametrize(("system", "program"), [("windows", "python"), ("linux", r'"C:\Zoë B\python.exe"')])
def test_the_commands_use_this_python_and_not_the_one_on_path(system: str, program: str) -> None:
    """cmd and PowerShell call a program whose path has a space in different ways, so the path is an argument."""
    identity = Identity(**{**IDENTITY, "os": system, "executable": r"C:\Zoë B\python.exe"})
    found = advice("torch", identity, machine("581.80", (8, 9)), None, shipped_catalogue())
    assert found and found.fix
    (by_hand,) = found.fix.by_hand
    assert by_hand.startswith(f'{program} -m pip --python "C:\\Zoë B\\python.exe" install ')
    by_pip = for_this_python(identity, "pip", "install x")
    assert by_pip == f'{program} -m pip --python "C:\\Zoë B\\python.exe" install x'


def test_flash_attn_by_hand_is_one_file_without_dependencies() -> None:
    found = advised("flash-attn", torch_for("cu130"))
    assert found.fix and found.fix.commands == ("aios install flash-attn",)
    (by_hand,) = found.fix.by_hand
    assert "--no-deps" in by_hand
    url = by_hand.split('"')[3]
    assert url.startswith("https://github.com/")
    assert url.endswith("/flash_attn-2.8.3%2Bcu130torch2.13-cp312-cp312-win_amd64.whl")
    assert found.hint.startswith("Install flash-attn 2.8.3, built for torch 2.13 and CUDA 13.0")


def test_without_a_wheel_the_nearest_one_and_the_fallback_are_named() -> None:
    found = advised("flash-attn", torch_for("cu130", "2.15.0"))
    assert "flash_attn-2.8.3+cu130torch2.14-cp312-cp312-win_amd64.whl" in found.hint
    assert "was built for torch 2.14, not for 2.15" in found.hint
    assert found.fix and found.fix.commands == ("aios install xformers",)
    found = advised("flash-attn", torch_for("cu132", "2.15.0"))
    assert found.fix is None
    assert found.hint.endswith("Training uses PyTorch's own attention instead.")


def test_a_torch_that_does_not_fit_is_replaced_first() -> None:
    found = advised("flash-attn", torch_for("cu126"), gpu=(12, 0))
    assert found.fix is None
    assert "must be replaced first: it has no code for compute capability 12.0" in found.hint


def test_xformers_comes_from_the_index_of_torchs_cuda_and_triton_in_torchs_range() -> None:
    xformers, triton = (advised(package, torch_for("cu126")).fix for package in ("xformers", "triton"))
    assert xformers and xformers.commands == ("aios install xformers",)
    assert '"xformers==0.0.35" --index-url https://download.pytorch.org/whl/cu126' in xformers.by_hand[0]
    assert triton and triton.commands == ("aios install triton",)
    assert '"triton-windows==3.7.1.post27"' in triton.by_hand[0]


def test_a_damaged_torch_is_reinstalled_in_the_same_build() -> None:
    (command,) = reinstall("torch", torch_for("cu130"), Identity(**IDENTITY)).commands
    assert "--force-reinstall --no-deps" in command
    assert command.endswith('"torch==2.13.0+cu130" --index-url https://download.pytorch.org/whl/cu130')


@pytest.mark.parametrize("driver", [Absent(), Unreadable("the driver is not answering")])
def test_without_a_driver_no_build_is_suggested(driver: Any) -> None:
    nvidia = NvidiaFacts(driver, "nvml", None, ("GPU",), None)
    assert advice("torch", Identity(**IDENTITY), nvidia, None, shipped_catalogue()) is None
