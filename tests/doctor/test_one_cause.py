"""One fault of a machine is one finding: what follows from it is skipped, and nothing healthy is called ill."""

from __future__ import annotations

from typing import Any

import pytest
from cases import Case, all_cases, patched

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost

SITE = "C:\\aios\\.venv\\Lib\\site-packages"
CUDA = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA"
BUILD_TOOLS = "C:\\Program Files (x86)\\Microsoft Visual Studio\\2022\\BuildTools\\VC"
SMI = (
    "nvidia-smi --query-gpu=index,name,driver_version,compute_cap,memory.total,driver_model.current "
    "--format=csv,noheader,nounits"
)
VSWHERE = (
    "C:\\Program Files (x86)\\Microsoft Visual Studio\\Installer\\vswhere.exe "
    "-products * -prerelease -nologo -format text -utf8"
)
WITHOUT_FLASH_ATTN = {"flash-attn": None}


def nvml(driver: str, cuda: tuple[int, int], name: str, capability: tuple[int, int]) -> dict[str, Any]:
    gpu = {"index": 0, "name": name, "compute_capability": capability, "total_memory_bytes": 2**34}
    return {"driver_version": driver, "cuda_version": cuda, "gpus": [{**gpu, "driver_model": "WDDM"}]}


def torch(version: str, cuda: str | None) -> dict[str, Any]:
    text = f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\n"
    return {f"{SITE}\\torch\\version.py": {"text": text}}


def nvcc(version: str) -> dict[str, Any]:
    return {
        "nvcc --version": {
            "exit_code": 0,
            "stdout": f"Cuda compilation tools, release {version}, V{version}.1\n",
        }
    }


def accepts(start: int, stop: int) -> dict[str, Any]:
    error = "#error -- unsupported Microsoft Visual Studio version!"
    text = f"#if _MSC_VER < {start} || _MSC_VER >= {stop}\n{error}\n#endif\n"
    return {f"{CUDA}\\v13.0\\include\\crt\\host_config.h": {"text": text}}


FAULTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "an RTX 5090 with driver 572 and a torch of CUDA 12.6": (
        {
            "nvml": nvml("572.61", (12, 8), "NVIDIA GeForce RTX 5090", (12, 0)),
            "files": torch("2.13.0+cu126", "12.6"),
        },
        {"torch-cuda-build": "error"},
    ),
    "a GTX 1660": ({"nvml": nvml("581.80", (13, 0), "NVIDIA GeForce GTX 1660", (7, 5))}, {}),
    "a torch for the CPU": ({"files": torch("2.13.0+cpu", None)}, {"torch-cuda-build": "error"}),
    "a driver too old for torch's CUDA": (
        {"nvml": nvml("572.61", (12, 8), "NVIDIA GeForce RTX 4090", (8, 9))},
        {"driver-supports-cuda": "error"},
    ),
    "a driver too old for everything": (
        {"nvml": nvml("472.12", (11, 4), "NVIDIA GeForce RTX 4090", (8, 9))},
        {"nvidia-driver": "error"},
    ),
    "toolkit 12.4 against a torch of CUDA 13.0": (
        {"runs": nvcc("12.4"), "files": accepts(1910, 1950), "distributions": WITHOUT_FLASH_ATTN},
        {"cuda-matches-torch": "warning"},
    ),
    "the same, but nobody builds anything": ({"runs": nvcc("12.4"), "files": accepts(1910, 1950)}, {}),
    "MSVC 14.50 against CUDA 13.0": (
        {
            "files": {
                f"{BUILD_TOOLS}\\Auxiliary\\Build\\Microsoft.VCToolsVersion.default.txt": {
                    "text": "14.50.35717"
                }
            },
            "directories": {
                f"{BUILD_TOOLS}\\Tools\\MSVC": ["14.50.35717"],
                f"{BUILD_TOOLS}\\Tools\\MSVC\\14.50.35717\\bin\\Hostx64\\x64": ["1033", "cl.exe"],
            },
            "distributions": WITHOUT_FLASH_ATTN,
        },
        {"msvc-supported-by-nvcc": "warning"},
    ),
    "Build Tools without C++": (
        {
            "files": {f"{BUILD_TOOLS}\\Auxiliary\\Build\\Microsoft.VCToolsVersion.default.txt": None},
            "distributions": WITHOUT_FLASH_ATTN,
        },
        {"msvc": "warning"},
    ),
    "nvidia-smi hangs": (
        {"nvml": None, "runs": {SMI: {"unreadable": "nvidia-smi.exe did not answer within 10 s"}}},
        {"nvidia-driver": "unknown"},
    ),
    "nvcc hangs": (
        {"runs": {"nvcc --version": {"unreadable": "nvcc.exe did not answer"}}},
        {"cuda-toolkit": "unknown"},
    ),
    "vswhere hangs": ({"runs": {VSWHERE: {"unreadable": "vswhere.exe did not answer"}}}, {"msvc": "unknown"}),
}
GROUPS = {"gpu", "build-tools"}
JUDGED = {check.id for check in CHECKS if check.group in GROUPS} | {"torch-cuda-build"}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_cause_gives_one_finding(fault: str) -> None:
    patch, complaints = FAULTS[fault]
    findings = diagnose(RecordedHost(patched("windows-rtx4090", patch)), CHECKS).findings
    bad = {f.check: f.status for f in findings if f.status in ("error", "warning", "unknown")}
    assert {check: status for check, status in bad.items() if check in JUDGED} == complaints


BUILD_FAULTS = [case for case in all_cases() if case.check.group == "build-tools" and case.kind == "fault"]


@pytest.mark.parametrize("case", BUILD_FAULTS, ids=str)
def test_a_fault_of_one_build_tool_is_told_once(case: Case) -> None:
    findings = {f.check: f for f in diagnose(RecordedHost(case.machine), CHECKS).findings}
    bad = {name for name, f in findings.items() if f.status in ("error", "warning")} & JUDGED
    told = findings[case.check.id].because_of or case.check.id
    assert bad <= {told}
