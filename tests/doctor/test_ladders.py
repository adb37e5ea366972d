"""The ladder of GPU, packages and backends: a machine with one fault has one open finding."""

from __future__ import annotations

import pytest
from cases import Case, all_cases, patched

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.recorded import RecordedHost
from doctor.models import Finding

# Two causes in one machine: what else is open there, and why that is another matter
ALSO = {
    "triton: such a bitsandbytes outside of any virtual environment": {"python-distribution"},
    "package-conflicts: the same outside of any virtual environment": {"python-distribution"},
    "package-conflicts: FlashAttention-4 on a cutlass-dsl without Windows libraries": {"flash-attn"},
    "wheel-tags: an ordinary wheel in a free-threaded Python": {"python-version", "python-headers"},
}
OTHER_CUDA = {"cuda-matches-torch"}  # the toolkit that builds, beside a torch for another CUDA
FAULTS = [
    case
    for case in all_cases()
    if case.check.group in ("gpu", "packages", "backends") and case.kind in ("fault", "crashed")
]


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_a_fault_opens_one_finding(case: Case) -> None:
    findings = {f.check: f for f in diagnose(RecordedHost(case.machine), CHECKS).findings}
    opened = {f.check for f in findings.values() if f.status in ("error", "warning")}
    told = findings[case.check.id].because_of or case.check.id
    expected = {told} & opened  # none where the fault is worth a note only
    assert opened - OTHER_CUDA - ALSO.get(str(case), set()) == expected - OTHER_CUDA


WINDOWS = "C:\\aios\\.venv\\Lib\\site-packages"


def on_windows(**changes: object) -> dict[str, Finding]:
    """What the doctor says of the whole Windows machine with changes, by check."""
    findings = diagnose(RecordedHost(patched("windows-rtx4090", changes)), CHECKS).findings
    return {finding.check: finding for finding in findings}


def failed_proofs() -> dict[str, object]:
    failure = {"exit_code": 1, "stdout": "", "stderr": "ImportError: DLL load failed"}
    return {
        f"python -m trainer.attention.prove {backend}": failure for backend in ("flash_attn_2", "xformers")
    }


def waiting_for(findings: dict[str, Finding], cause: str) -> set[str]:
    return {finding.check for finding in findings.values() if finding.because_of == cause}


def test_a_torch_for_the_processor_is_one_finding_and_not_ten() -> None:
    version = {"text": "__version__ = '2.13.0+cpu'\ndebug = False\ncuda = None\n"}
    findings = on_windows(files={f"{WINDOWS}\\torch\\version.py": version}, runs=failed_proofs())
    assert findings["torch-cuda-build"].status == "error"
    assert waiting_for(findings, "torch-cuda-build") == {
        "torchvision", "flash-attn", "xformers", "backend-flash-attn-2", "backend-xformers",
    }  # fmt: skip


def test_flash_attn_explains_its_own_backend_and_no_other() -> None:
    flash_attn = {"name": "flash-attn", "version": "2.8.3+cu130torch2.8", "location": WINDOWS}
    findings = on_windows(distributions={"flash-attn": flash_attn}, runs=failed_proofs())
    assert findings["flash-attn"].status == "error"
    assert waiting_for(findings, "flash-attn") == {"backend-flash-attn-2"}
    assert findings["backend-xformers"].status == "error"


def test_an_old_driver_is_the_root_of_what_needs_cuda() -> None:
    driver = {"driver_version": "472.12", "cuda_version": [11, 4], "gpus": []}
    gpu = {"index": 0, "name": "RTX 3080", "compute_capability": [8, 6], "total_memory_bytes": 10**10}
    findings = on_windows(nvml={**driver, "gpus": [gpu]}, runs=failed_proofs())
    assert {f.check for f in findings.values() if f.status in ("error", "warning")} == {"nvidia-driver"}
    assert {"backend-flash-attn-2", "backend-xformers"} <= waiting_for(findings, "nvidia-driver")


LINUX = "/home/user/aios/.venv/lib/python3.12/site-packages"
UNINSTALLED = {"xformers": None, "bitsandbytes": None, "triton-windows": None}


def linux(name: str, version: str, **more: object) -> dict[str, object]:
    return {"name": name, "version": version, "location": LINUX, **more}


def version_py(version: str, cuda: str | None) -> dict[str, str]:
    return {"text": f"__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\n"}


ORDINARY = {
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
def test_nothing_is_said_against_an_ordinary_machine(machine: str) -> None:
    name, patch = ORDINARY[machine]
    findings = diagnose(RecordedHost(patched(name, patch)), CHECKS).findings
    packages = {check.id for check in CHECKS if check.group in ("gpu", "packages", "backends")}
    alarms = {f.check: f.summary for f in findings if f.status in ("error", "warning", "unknown")}
    assert {check: text for check, text in alarms.items() if check in packages} == {}
