"""Ordinary machines without a fault get no warning."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost
from tests.doctor.checks.cases import patched

LINUX = "/home/user/aios/.venv/lib/python3.12/site-packages"
UNINSTALLED = {"xformers": None, "bitsandbytes": None, "triton-windows": None}


def linux(name: str, version: str, **more: object) -> dict[str, object]:
    return {"name": name, "version": version, "location": LINUX, **more}


def version_py(version: str, cuda: str | None) -> dict[str, str]:
    return {"text": f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\n"}


ORDINARY: dict[str, tuple[str, dict[str, Any]]] = {
    "pip's torch for CUDA on Linux, and no xformers": (
        "linux-h100",
        {
            "distributions": {"xformers": None},
            "directories": {LINUX: ["flash_attn", "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so", "torch", "triton"]},
        },
    ),
    "conda's packages, which state no tags and no CUDA in their versions": (
        "linux-h100",
        {
            "distributions": {
                **UNINSTALLED,
                "torch": linux("torch", "2.13.0"),
                "triton": linux("triton", "3.7.0"),
                "torchvision": linux("torchvision", "0.28.0"),
                "flash-attn": linux("flash-attn", "2.8.3", direct_url="file:///home/conda/feedstock_root/work"),
            },
            "files": {
                f"{LINUX}/torch/version.py": version_py("2.13.0", "13.0"),
                f"{LINUX}/torchvision/version.py": version_py("0.28.0", None),
            },
            "directories": {
                LINUX: ["flash_attn", "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so", "torch", "torch-2.13.0-py3.12.egg-info", "torchvision", "triton"],
            },
        },
    ),
    "NVIDIA's container, with previews of its own": (
        "linux-h100",
        {
            "distributions": {
                **UNINSTALLED,
                "torch": linux("torch", "2.12.0a0+b4e4ee81d3.nv26.05"),
                "triton": linux("triton", "3.5.0+gitc817b9b6"),
                "torchvision": linux("torchvision", "0.25.0a0+ca221243"),
                "flash-attn": linux("flash-attn", "2.7.4.post1+25.12"),
            },
            "files": {
                f"{LINUX}/torch/version.py": version_py("2.12.0a0+b4e4ee81d3.nv26.05", "13.0"),
                f"{LINUX}/torchvision/version.py": version_py("0.25.0a0+ca221243", None),
            },
            "directories": {
                LINUX: ["flash_attn", "flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so", "torch", "torchvision", "triton"],
            },
        },
    ),
    "a laptop without an NVIDIA GPU that has a torch for CUDA": (
        "linux-cpu",
        {"files": {"/home/user/aios/.venv/lib/python3.11/site-packages/torch/version.py": version_py("2.13.0+cu130", "13.0")}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("machine", ORDINARY)
def test_an_ordinary_machine_gets_no_warning(machine: str) -> None:
    name, patch = ORDINARY[machine]
    findings = diagnose(RecordedHost(patched(name, patch)), CHECKS).findings
    packages = {check.id for check in CHECKS if check.group in ("gpu", "packages", "backends")}
    alarms = {f.check: f.summary for f in findings if f.status in ("error", "warning", "unknown")}
    assert {check: text for check, text in alarms.items() if check in packages} == {}
