"""Package probes: realistic, malformed and missing files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.checks.packages import broken_distributions, package_conflicts, torchvision, wheel_tags
from doctor.diagnosis import ProbeFailure, diagnose
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.probes.companions import parse_companion_version
from doctor.probes.dll_copies import CUDA_DLLS
from doctor.probes.dll_imports import missing_imports
from doctor.probes.site_packages import SITE_PACKAGES

SITE = "C:\\venv\\Lib\\site-packages"
IDENTITY: dict[str, Any] = {
    "os": "windows", "os_build": "10.0.22631", "architecture": "AMD64", "elevated": False, "wsl": False,
    "ansi_code_page": 1252, "oem_code_page": 437, "python": "3.12.4", "python_implementation": "CPython",
    "python_bits": 64, "python_free_threaded": False, "python_platform": "win_amd64",
    "executable": "C:\\venv\\Scripts\\python.exe", "prefix": "C:\\venv", "base_prefix": "C:\\Python312",
    "site_packages": SITE, "home": "C:\\Users\\u", "user": "u", "host_name": "pc",
}  # fmt: skip


def machine(**sections: Any) -> RecordedHost:
    return RecordedHost(
        RecordedMachine.model_validate(
            {"identity": Identity(**IDENTITY), "distributions_complete": True, **sections}
        )
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("__version__ = '0.28.0+cu130'\ngit_version = 'abc'\n", "0.28.0+cu130"),
        ('__version__: str = "0.28.0"\r\n', "0.28.0"),
        ("# __version__ = '1'\n__version__ = '2'\n", "2"),
    ],
)
def test_a_companions_version(text: str, version: str) -> None:
    assert parse_companion_version(text) == Found(version)


@given(st.text())
def test_a_companions_version_can_be_any_text(text: str) -> None:
    assert isinstance(parse_companion_version(text), Found | Unreadable)


PYD = f"{SITE}\\x.pyd"
SYSTEM = "C:\\Windows\\System32"


def module(*imports: str) -> dict[str, Any]:
    return {"machine": "x64", "imports": imports}


def test_imports_are_looked_for_in_torch_beside_python_and_in_windows() -> None:
    host = machine(
        binaries={
            PYD: module(
                "c10.dll", "own.dll", "vcruntime140.dll", "kernel32.dll", "python312.dll", "python3.dll",
                "api-ms-win-crt-heap-l1-1-0.dll", "ext-ms-win-x.dll", "mkl.dll", "cudart64_12.dll",
            ),
            f"{SYSTEM}\\kernel32.dll": module(),
            f"{SYSTEM}\\cudart64_12.dll": None,
        },
        directories={
            SITE: ["x.pyd", "OWN.dll"],
            "C:\\Python312": ["python.exe", "VCRUNTIME140.dll"],
            "C:\\venv\\Library\\bin": ["mkl.dll"],
        },
    )  # fmt: skip
    assert missing_imports(host, PYD, Found(("C10.dll",))) == Found(("cudart64_12.dll",))


def test_an_unreadable_dll_is_not_missing() -> None:
    table = {PYD: module("a.dll", "b.dll"), f"{SYSTEM}\\a.dll": {"unreadable": "access denied"}}
    unseen = missing_imports(machine(binaries={**table, f"{SYSTEM}\\b.dll": module()}), PYD, Found(()))
    assert unseen == Unreadable(f"a.dll in {SYSTEM} could not be read")
    known = missing_imports(machine(binaries={**table, f"{SYSTEM}\\b.dll": None}), PYD, Found(()))
    assert known == Found(("b.dll",)), "one that is missing for certain says enough"
    assert missing_imports(machine(binaries={PYD: None}), PYD, Found(())) == Absent()
    assert missing_imports(machine(binaries={PYD: module()}), PYD, Unreadable("no")) == Unreadable(
        "the libraries in torch/lib could not be listed"
    )


def test_the_folders_of_path_are_listed_once_and_windows_own_never() -> None:
    path = f'{SYSTEM};C:\\cuda\\bin;"C:\\CUDA\\bin\\";;relative;D:\\x'
    host = machine(
        environment={"PATH": path},
        directories={
            SYSTEM: ["cudart64_13.dll"],
            "C:\\cuda\\bin": ["cudart64_13.dll", "nvcc.exe", "cudnn_ops64_9.dll", "cublasLt64_13.dll"],
            "D:\\x": {"unreadable": "gone"},
        },
    )
    found = CUDA_DLLS.collect(host)
    assert found.on_path == {"cudart64_13.dll": ("C:\\cuda\\bin",), "cublaslt64_13.dll": ("C:\\cuda\\bin",)}


def dist(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "location": SITE, **more}


def damaged(**sections: Any) -> list[str]:
    reading = SITE_PACKAGES.collect(machine(**sections))
    assert isinstance(reading, Found)
    return [f"{each.package}: {each.what}" for each in reading.value.damaged]


def test_metadata_that_cannot_be_read_is_not_missing() -> None:
    listing = {SITE: ["torch"], f"{SITE}\\torch": ["__init__.py"]}
    assert damaged(directories=listing, distributions={}) == [
        "torch: the folder torch exists, but its metadata is missing"
    ]
    assert damaged(directories=listing, distributions={"torch": {"unreadable": "access denied"}}) == []


def test_a_package_is_reported_once() -> None:
    files = {f"{SITE}\\xformers-0.0.35.dist-info\\METADATA": None}
    listing = {SITE: ["xformers", "xformers-0.0.35.dist-info"]}
    assert damaged(directories=listing, files=files) == [
        "xformers: xformers-0.0.35.dist-info has no METADATA"
    ]


@pytest.mark.parametrize("name", ["triton", "triton-windows", "pytorch-triton", "PyTorch_Triton_ROCm"])
def test_a_triton_of_any_name_owns_its_folder(name: str) -> None:
    listing = {SITE: ["triton"], f"{SITE}\\triton": ["__init__.py"]}
    assert damaged(directories=listing, distributions={name: dist(name)}) == []


@pytest.mark.parametrize("name", ["torch-geometric", "tritonclient", "flash-attn-3", "torchvision"])
def test_a_similar_name_does_not_own_the_folder(name: str) -> None:
    assert damaged(directories={SITE: [name]}, distributions={name: dist(name)}) == []


JUDGES = [broken_distributions.CHECK, package_conflicts.CHECK, torchvision.CHECK, wheel_tags.CHECK]
TEXTS = st.lists(st.text(max_size=30), max_size=3)


@given(TEXTS, TEXTS, TEXTS, st.text(max_size=30))
def test_any_metadata_is_judged(names: list[str], requires: list[str], tags: list[str], version: str) -> None:
    found = dist("numpy", requires=requires, wheel_tags=tags) | {"version": version}
    listing = [*names, "~orch", "numpy-1.dist-info"]
    host = machine(
        distributions={"numpy": found, "torchvision": found},
        directories={SITE: listing, f"{SITE}\\~orch": []},
    )
    diagnosis = diagnose(host, JUDGES)
    assert [f.reason for f in diagnosis.facts.values() if isinstance(f, ProbeFailure)] == []
    assert [f.summary for f in diagnosis.findings if "raised" in f.summary] == []
