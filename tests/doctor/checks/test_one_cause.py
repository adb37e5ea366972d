"""One fault gives one finding: its consequences are skipped, and healthy parts get no warning."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host import NvidiaDriver
from doctor.host.recorded import RecordedHost
from doctor.models import Finding
from tests.doctor.checks.cases import Case, all_cases, patched

SITE = "C:\\aios\\.venv\\Lib\\site-packages"
CUDA = "C:\\Program Files\\NVIDIA GPU Computing Toolkit\\CUDA"
BUILD_TOOLS = "C:\\Program Files (x86)\\Microsoft Visual Studio\\2022\\BuildTools\\VC"
SMI = (
    "nvidia-smi --query-gpu=index,name,driver_version,compute_cap,memory.total,driver_model.current "
    "--format=csv,noheader,nounits"
)
VSWHERE = (
    "C:\\Program Files (x86)\\Microsoft Visual Studio\\Installer\\vswhere.exe "
    "-all -products * -prerelease -nologo -format text -utf8"
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
    "the same, but nothing needs building": ({"runs": nvcc("12.4"), "files": accepts(1910, 1950)}, {}),
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


# Machines with two faults, and the checks that report the second one
ALSO = {
    "triton: the same bitsandbytes outside a virtual environment": {"python-distribution"},
    "package-conflicts: the same outside a virtual environment": {"python-distribution"},
    "package-conflicts: FlashAttention-4 on a cutlass-dsl without Windows libraries": {"flash-attn"},
    "wheel-tags: an ordinary wheel in a free-threaded Python": {"python-version", "python-headers"},
}
OTHER_CUDA = {"cuda-matches-torch"}  # the machine's toolkit, with a torch for another CUDA
FAULTY = [case for case in all_cases() if case.kind in ("fault", "crashed")]


@pytest.mark.parametrize(
    "case", [case for case in FAULTY if case.check.group in ("gpu", "packages", "backends")], ids=str
)
def test_a_fault_opens_one_finding(case: Case) -> None:
    findings = {f.check: f for f in diagnose(RecordedHost(case.machine), CHECKS).findings}
    opened = {f.check for f in findings.values() if f.status in ("error", "warning")}
    root = findings[case.check.id].because_of or case.check.id
    expected = {root} & opened  # empty if the fault is only a note
    assert opened - OTHER_CUDA - ALSO.get(str(case), set()) == expected - OTHER_CUDA


@pytest.mark.parametrize("case", [case for case in FAULTY if case.check.group == "build-tools"], ids=str)
def test_a_fault_of_one_build_tool_is_reported_once(case: Case) -> None:
    """Among the checks of tools and drivers. Most of these machines lack flash-attn, so the tools are needed."""
    findings = {f.check: f for f in diagnose(RecordedHost(case.machine), CHECKS).findings}
    bad = {name for name, f in findings.items() if f.status in ("error", "warning")} & JUDGED
    root = findings[case.check.id].because_of or case.check.id
    assert bad <= {root}


def on_windows(**changes: object) -> dict[str, Finding]:
    """The findings of the healthy Windows machine with changes, by check."""
    findings = diagnose(RecordedHost(patched("windows-rtx4090", changes)), CHECKS).findings
    return {finding.check: finding for finding in findings}


def failed_proofs() -> dict[str, object]:
    failure = {"exit_code": 1, "stdout": "", "stderr": "ImportError: DLL load failed"}
    return {
        f"python -m trainer.attention.prove {backend}": failure for backend in ("flash_attn_2", "xformers")
    }


def skipped_because_of(findings: dict[str, Finding], cause: str) -> set[str]:
    return {finding.check for finding in findings.values() if finding.because_of == cause}


def test_a_cpu_build_of_torch_is_one_finding() -> None:
    version = {"text": "__version__ = '2.13.0+cpu'\ndebug = False\ncuda = None\n"}
    findings = on_windows(files={f"{SITE}\\torch\\version.py": version}, runs=failed_proofs())
    assert findings["torch-cuda-build"].status == "error"
    assert skipped_because_of(findings, "torch-cuda-build") == {
        "torchvision", "flash-attn", "xformers", "backend-flash-attn-2", "backend-xformers",
    }  # fmt: skip


def test_flash_attn_explains_its_own_backend_and_no_other() -> None:
    flash_attn = {"name": "flash-attn", "version": "2.8.3+cu130torch2.8", "location": SITE}
    findings = on_windows(distributions={"flash-attn": flash_attn}, runs=failed_proofs())
    assert findings["flash-attn"].status == "error"
    assert skipped_because_of(findings, "flash-attn") == {"backend-flash-attn-2"}
    assert findings["backend-xformers"].status == "error"


def test_an_old_driver_is_the_cause_of_all_cuda_failures() -> None:
    driver = {"driver_version": "472.12", "cuda_version": [11, 4], "gpus": []}
    gpu = {"index": 0, "name": "RTX 3080", "compute_capability": [8, 6], "total_memory_bytes": 10**10}
    findings = on_windows(nvml={**driver, "gpus": [gpu]}, runs=failed_proofs())
    assert {f.check for f in findings.values() if f.status in ("error", "warning")} == {"nvidia-driver"}
    assert {"backend-flash-attn-2", "backend-xformers"} <= skipped_because_of(findings, "nvidia-driver")


STORE = r"C:\Program Files\WindowsApps\PythonSoftwareFoundation.Python.3.12_3.12.2544.0_x64__qbz5n2kfra8p0"
STORE_PACKAGES = (
    r"C:\Users\user\AppData\Local\Packages\PythonSoftwareFoundation.Python.3.12_qbz5n2kfra8p0"
    r"\LocalCache\local-packages\Python312\site-packages"
)
LONG_PATHS_OFF = {r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem": {"LongPathsEnabled": None}}
WITHOUT_PACKAGES = {"torch": None, "flash-attn": None, "xformers": None, "triton-windows": None}


@pytest.mark.parametrize(
    ("identity", "cause"),
    [
        ({"python_bits": 32, "python_platform": "win32"}, "python-architecture"),
        ({"architecture": "ARM64", "python_platform": "win_arm64"}, "python-architecture"),
        ({"python": "3.9.13"}, "python-version"),
    ],
)
def test_torch_is_missing_because_of_the_python(identity: dict[str, Any], cause: str) -> None:
    findings = on_windows(identity=identity, distributions=WITHOUT_PACKAGES)
    assert findings[cause].status == "error"
    assert "torch" in skipped_because_of(findings, cause)


def test_a_store_python_is_why_the_path_is_too_long() -> None:
    store = {"prefix": STORE, "base_prefix": STORE, "site_packages": STORE_PACKAGES}
    findings = on_windows(identity=store, registry=LONG_PATHS_OFF)
    assert findings["python-distribution"].status == "error"
    assert "install-path" in skipped_because_of(findings, "python-distribution")


def test_a_lost_gpu_does_not_hide_the_fault_of_a_package() -> None:
    (case,) = (case for case in all_cases() if str(case) == "extensions: an extension for another CUDA")
    assert isinstance(case.machine.nvml, NvidiaDriver)
    complaint = "GPU 1: NVML_ERROR_GPU_IS_LOST (GPU is lost)"
    lost = case.machine.nvml.model_copy(update={"complaints": (complaint,)})
    machine = case.machine.model_copy(update={"nvml": lost})
    found = {finding.check: finding.status for finding in diagnose(RecordedHost(machine), CHECKS).findings}
    assert (found["gpu"], found["extensions"]) == ("warning", "warning")
