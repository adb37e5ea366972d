"""Parse the description of a machine: `--python 3.12 --torch 2.8.0+cu128 --platform win_amd64`.

An invalid value is a ValueError that names the value and the valid ones.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from doctor.host import Found, Reader
from doctor.probes.nvidia import NVIDIA
from doctor.probes.packages import TORCH
from doctor.probes.wheel_machine import machine_of, wheel_platform
from wheels.compatibility import ComputeCapability, cuda_tag, parse_version, torch_default_cuda_tag
from wheels.machine import Machine, TorchBuild

PYTHON = re.compile(r"(?:cp)?(3)\.?(\d{1,2})(?:\.\d+)?(t?)")
# Compute capabilities of GPUs, times ten: those that NVIDIA's compilers of CUDA 8 to 13 know (nvcc --list-gpu-arch)
TENTHS = (30, 32, 35, 37, 50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)
COMPUTE_CAPABILITIES = frozenset(divmod(tenths, 10) for tenths in TENTHS)
PLATFORMS = "win_amd64, win_arm64, linux_x86_64, linux_aarch64, manylinux_2_28_x86_64, musllinux_1_2_x86_64"


def parse_machine(
    python: str, platform: str, torch: str | None, capabilities: tuple[str, ...], driver: str | None
) -> Machine:
    """Parse the options of `aios wheels match`. Raises ValueError."""
    release, free_threaded = parse_python(python)
    system, glibc = parse_platform(platform)
    return Machine(
        python=release,
        platform=system,
        free_threaded=free_threaded,
        glibc=glibc,
        torch=parse_torch(torch, "windows" if system.startswith("win") else "linux") if torch else None,
        compute_capabilities=tuple(map(parse_capability, capabilities)) or None,
        driver=parse_driver(driver) if driver else None,
    )


def is_version(text: str) -> bool:
    """Whether `--python` means a version; anything else is a path."""
    return PYTHON.fullmatch(text) is not None


def machine_with(
    host: Reader, platform: str | None, torch: str | None, capabilities: tuple[str, ...], driver: str | None
) -> Machine:
    """The machine of the Python that `host` looks at. What is given replaces what is found. Raises ValueError."""
    nvidia, found = NVIDIA.collect(host), TORCH.collect(host)
    build = found.build.value if isinstance(found.build, Found) else None
    identity = host.identity
    given: dict[str, Any] = {}
    if platform:
        given["platform"], given["glibc"] = parse_platform(platform)
    if torch:
        given["torch"] = parse_torch(torch, "windows" if identity.os == "windows" else "linux")
    if capabilities:
        given["compute_capabilities"] = tuple(map(parse_capability, capabilities))
    if driver:
        given["driver"] = parse_driver(driver)
    machine = machine_of(identity, nvidia, build)
    if machine is None:  # a GPU whose driver does not answer: nothing is known of it
        unknown: dict[str, Any] = {"compute_capabilities": None, "driver": None}
        known = Machine(
            identity.python_minor,
            wheel_platform(identity),
            identity.python_free_threaded,
            identity.glibc,
            build,
        )
        machine = replace(known, **unknown)
    return replace(machine, **given)


def parse_python(text: str) -> tuple[str, bool]:
    """ "3.13.1" -> "3.13"; "3.13t" is the free-threaded one."""
    match = PYTHON.fullmatch(text)
    if match is None:
        raise ValueError(
            f"--python: {text!r} is not a Python version; use for example 3.12, or 3.13t for free-threaded"
        )
    return f"{match[1]}.{match[2]}", bool(match[3])


def parse_platform(text: str) -> tuple[str, tuple[int, int] | None]:
    """ "manylinux_2_28_x86_64" is a "linux_x86_64" with glibc 2.28."""
    if match := re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", text):
        return f"linux_{match[3]}", (int(match[1]), int(match[2]))
    if not re.fullmatch(r"(?:win_|linux_|musllinux_\d+_\d+_)(?:amd64|arm64|x86_64|aarch64)", text):
        raise ValueError(f"--platform: {text!r} is not supported; use one of {PLATFORMS}")
    return text, None


def parse_torch(text: str, system: str) -> TorchBuild:
    """ "2.8.0+cu128"; "2.8" without a label is the build on PyPI for that system."""
    version = parse_version(text)
    if version is None or len(version.release) < 2:
        raise ValueError(
            f"--torch: {text!r} is not a torch version; use for example 2.8.0+cu128 or 2.8.0+cpu"
        )
    tag = cuda_tag(version)
    if version.local is None:
        tag = torch_default_cuda_tag(version, system)
    elif tag is None and version.local != "cpu":
        raise ValueError(
            f"--torch: {version.local!r} is not a supported build; use a CUDA tag such as cu128, or cpu"
        )
    return TorchBuild(version, tag)


def parse_capability(text: str) -> ComputeCapability:
    """ "12.0"."""
    match = re.fullmatch(r"(?:sm_)?(\d{1,2})\.?(\d)", text)
    if match is None:
        raise ValueError(
            f"--compute-capability: {text!r} is not a compute capability; use for example 8.9 (GeForce RTX 40) or 12.0 (RTX 50)"
        )
    return int(match[1]), int(match[2])


def parse_driver(text: str) -> str:
    """ "581.80"."""
    if not re.fullmatch(r"\d{3}(?:\.\d+){0,2}", text):
        raise ValueError(
            f"--driver: {text!r} is not an NVIDIA driver version; use the one that nvidia-smi prints, such as 581.80"
        )
    return text
