"""About forty machines and the packages expected on each, derived by hand from the release lists and the installer's rules.

A flash-attn wheel is given without Python and platform, which are those of the machine.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import pytest
from packaging.version import Version

from wheels.catalogue import Catalogue, Publisher, shipped_catalogue
from wheels.choice import Choice
from wheels.machine import Machine, TorchBuild
from wheels.packages import PACKAGES
from wheels.resolve import resolve, resolve_one

KEPT = "kept"
NOT_ASKED = "not asked for"  # too old for aios: replaced if torch is requested
RTX_1080, V100, RTX_2080, A100, RTX_30, RTX_40, H100, B200, RTX_50, SPARK = (
    (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (12, 1),
)  # fmt: skip
GPU = tuple[int, int]


def windows(
    python: str, driver: str | None, *gpus: GPU, torch: str = "", free_threaded: bool = False
) -> Machine:
    return Machine(python, "win_amd64", free_threaded, None, installed(torch), gpus, driver)


def linux(
    python: str, driver: str | None, *gpus: GPU, torch: str = "", glibc: GPU = (2, 35), cpu: str = "x86_64"
) -> Machine:
    return Machine(python, f"linux_{cpu}", False, glibc, installed(torch), gpus, driver)


def installed(torch: str) -> TorchBuild | None:
    version, _, tag = torch.partition("+")
    return TorchBuild(Version(torch), tag if tag != "cpu" else None) if version else None


class Case(NamedTuple):
    name: str
    machine: Machine
    torch: str | None
    flash_attn: str | None  # "2.8.3+cu130torch2.13"
    xformers: str | None  # "0.0.35 cu130" from PyTorch's index, otherwise the version and label of a wheel
    triton: str | None
    because: str


CASES = (
    # -- Windows, nothing installed
    Case("RTX 4090", windows("3.12", "581.80", RTX_40), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "2.14 is the newest torch with known Windows CUDA builds; 581.80 is newer than 580, and cu130 comes first"),
    Case("RTX 5090", windows("3.12", "581.80", RTX_50), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "cu130 has code for 12.0 in torch and flash-attn, with which xformers 0.0.35 works on 12.0"),
    Case("RTX 5090, newest driver", windows("3.14", "610.47", RTX_50), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "newer drivers are compatible; there are wheels for Python 3.14, and xformers is for any Python"),
    Case("RTX 3090, driver of CUDA 12", windows("3.10", "560.94", RTX_30), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "CUDA 13 needs 580; cu126 is the only CUDA 12 build of 2.14"),
    Case("RTX 5090, driver of CUDA 12", windows("3.11", "572.61", RTX_50), "2.11.0+cu128", "2.8.3+cu128torch2.11", "0.0.35 cu128", "3.6.0.post26",
         "cu126 has no code for 12.0, CUDA 13 needs 580; 2.11 is the last torch for cu128"),
    Case("RTX 2080", windows("3.12", "581.80", RTX_2080), "2.14.1+cu130", None, "0.0.35 cu130", None,
         "flash-attn needs 8.0, Triton 3.3 and later need 8.0; xformers has code for 7.5"),
    Case("RTX 2080 Super laptop, driver of CUDA 11", windows("3.10", "452.39", RTX_2080), "2.7.1+cu118", None, None, None,
         "452.39 is the first driver for CUDA 11; 2.7.1 is the last torch for cu118, for which the index has no Windows xformers"),
    Case("RTX 3060 laptop, driver of CUDA 11", windows("3.12", "472.12", RTX_30), "2.7.1+cu118", None, None, "3.3.1.post21",
         "no flash-attn for Windows was built with CUDA 11 for torch 2.6 or later"),
    Case("RTX 3060, ancient driver", windows("3.11", "446.14", RTX_30), None, None, None, None,
         "446.14 is older than 452.39, which CUDA 11 needs"),
    Case("RTX 4070 laptop", windows("3.14", "591.44", RTX_40), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "Python 3.14 has wheels of all four"),
    Case("RTX 4090, last driver before CUDA 13", windows("3.13", "577.00", RTX_40), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "577 is less than 580"),
    Case("RTX 4090, first driver of CUDA 12", windows("3.12", "528.33", RTX_40), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "528.33 is the minimum of CUDA 12"),
    Case("RTX 4090, last driver before CUDA 12", windows("3.12", "528.24", RTX_40), "2.7.1+cu118", None, None, "3.3.1.post21",
         "528.24 is less than 528.33; cu118 has code for 8.6, which runs on 8.9"),
    Case("H100 in a Windows server", windows("3.12", "553.62", H100), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "nvcc 11.8 and later compile for 9.0"),
    Case("GTX 1080 Ti beside an RTX 4090", windows("3.12", "581.80", RTX_40, RTX_1080), "2.14.1+cu126", None, None, None,
         "only cu126 has code for both; the older GPU rules out flash-attn, xformers and Triton"),
    Case("GTX 1080 Ti beside an RTX 5090", windows("3.12", "581.80", RTX_50, RTX_1080), None, None, None, None,
         "no build has code for both 6.1 and 12.0"),
    Case("RTX 4090 beside an RTX 5090", windows("3.12", "581.80", RTX_50, RTX_40), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "cu130 has code for both"),
    Case("Python 3.15", windows("3.15", "610.47", RTX_40), None, None, None, None,
         "only 2.15 has wheels for it, and its Windows CUDA builds are unknown"),
    Case("free-threaded Python 3.13", windows("3.13", "581.80", RTX_40, free_threaded=True), "2.12.1+cu130", "2.8.3+cu132torch2.12", "0.0.35 cu130", None,
         "there is no Triton for it; flash-attn for cp313t ends with torch 2.12, for CUDA 13 with cu132"),
    # -- Windows, torch installed
    Case("RTX 4090 with torch 2.8.0+cu128", windows("3.12", "581.80", RTX_40, torch="2.8.0+cu128"), KEPT, "2.8.2+cu128torch2.8", "0.0.32.post2 cu128", "3.4.0.post21",
         "it is a CUDA build and fits, so it is kept; beside flash-attn 2.8.3, xformers 0.0.32 cannot be imported"),
    Case("the same on Python 3.11", windows("3.11", "581.80", RTX_40, torch="2.8.0+cu128"), KEPT, "2.8.2+cu128torch2.8", "0.0.32.post2 cu128", "3.4.0.post21",
         "mjun0812 has 2.8.2 for it, which xformers accepts; kingbri1 has 2.8.3"),
    Case("an RTX 5080 on Python 3.11", windows("3.11", "581.80", RTX_50, torch="2.8.0+cu128"), KEPT, "2.8.3+cu128torch2.8.0cxx11abiFALSE", None, "3.4.0.post21",
         "without an xformers for it the newest; the C++ ABI in the name of kingbri1's wheel has no meaning on Windows"),
    Case("RTX 4090 with torch 2.7.1+cu128", windows("3.12", "581.80", RTX_40, torch="2.7.1+cu128"), KEPT, "2.7.4.post1+cu128torch2.7.0cxx11abiFALSE", "0.0.31.post1 cu128", "3.3.1.post21",
         "xformers 0.0.31 accepts flash-attn 2.7.1 to 2.8.0"),
    Case("RTX 4090 with torch 2.6.0+cu126", windows("3.12", "581.80", RTX_40, torch="2.6.0+cu126"), KEPT, "2.8.3+cu126torch2.6", "0.0.29.post3 cu126", "3.2.0.post21",
         "0.0.29.post2 and post3 are on the index for cu124 and cu126; they bring their own FlashAttention"),
    Case("RTX 4090 with torch 2.8.0+cu129", windows("3.12", "581.80", RTX_40, torch="2.8.0+cu129"), KEPT, "2.8.2+cu128torch2.8", "0.0.32.post2 cu129", "3.4.0.post21",
         "the wheel for cu129 is 2.8.3, which xformers 0.0.32 refuses; cu128 is the nearest older one of the same major version"),
    Case("RTX 5090 with torch 2.8.0+cu129", windows("3.12", "581.80", RTX_50, torch="2.8.0+cu129"), KEPT, "2.8.3+cu129torch2.8", None, "3.4.0.post21",
         "the same CUDA minor comes first; no xformers for 2.8 works on 12.0"),
    Case("RTX 4090 with torch 2.9.1+cu128", windows("3.13", "566.36", RTX_40, torch="2.9.1+cu128"), KEPT, "2.8.3+cu128torch2.9", "0.0.33.post2 cu128", "3.5.1.post24",
         "566.36 runs CUDA 12; 0.0.33.post2 requires 2.9.1"),
    Case("RTX 5090 with torch 2.9.1+cu128", windows("3.12", "576.88", RTX_50, torch="2.9.1+cu128"), KEPT, "2.8.3+cu128torch2.9", "0.0.33.post2 cu128", "3.5.1.post24",
         "from 0.0.33 on, xformers chooses no FlashAttention-3 kernel on 12.0, and uses flash-attn"),
    Case("RTX 3080 laptop with torch 2.10.0+cu130", windows("3.13", "581.80", RTX_30, torch="2.10.0+cu130"), KEPT, "2.8.3+cu130torch2.10", "0.0.35 cu130", "3.6.0.post26",
         "0.0.35 accepts 2.10 and later"),
    Case("RTX 4060 laptop with torch 2.13.0+cu132", windows("3.12", "591.44", RTX_40, torch="2.13.0+cu132"), KEPT, "2.8.3+cu132torch2.13", "0.0.35+d20260715.cu132torch2.13.0cxx11abi1", "3.7.1.post27",
         "PyTorch's index has no xformers for cu132; Wildminder has"),
    Case("RTX 4090 with torch 2.14.0+cu130", windows("3.13", "581.80", RTX_40, torch="2.14.0+cu130"), KEPT, "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "mjun0812 has wheels for torch 2.14 since v0.10"),
    Case("RTX 5090 with torch 2.15.0+cu130", windows("3.13", "581.80", RTX_50, torch="2.15.0+cu130"), KEPT, None, "0.0.35 cu130", None,
         "torch 2.15 has FlashAttention kernels under Windows, which xformers uses on 12.0"),
    Case("RTX 4090 with torch 2.15.0+cu132", windows("3.13", "581.80", RTX_40, torch="2.15.0+cu132"), KEPT, None, None, None,
         "there are no wheels for torch 2.15, and no xformers for cu132 on the index"),
    Case("RTX 4090 with torch for the CPU", windows("3.11", "546.33", RTX_40, torch="2.7.1+cpu"), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "the CPU build is replaced; 546.33 runs CUDA 12"),
    Case("RTX 5090 with torch 2.6.0+cu126", windows("3.12", "581.80", RTX_50, torch="2.6.0+cu126"), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", "3.8.0.post29",
         "cu126 has no code for 12.0"),
    Case("RTX 4090 with torch 2.13.0+cu130 and an old driver", windows("3.12", "560.94", RTX_40, torch="2.13.0+cu130"), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", "3.8.0.post29",
         "CUDA 13 needs 580"),
    Case("RTX 4090 with torch 2.5.1+cu121", windows("3.10", "531.61", RTX_40, torch="2.5.1+cu121"), NOT_ASKED, "2.8.3+cu124torch2.5", None, "3.1.0.post17",
         "cu124 is the nearest newer of the wheels for CUDA 12; the index had Windows xformers for cu124 only"),
    Case("RTX 3090 with torch 2.4.1+cu124", windows("3.12", "552.44", RTX_30, torch="2.4.1+cu124"), NOT_ASKED, "2.7.4+cu124torch2.4", "0.0.28.post1 cu124", "3.1.0.post17",
         "the address of 2.8.3 for it is unconfirmed; Triton 3.1 is the oldest for Windows and supports 2.4"),
    # -- Linux
    Case("H100", linux("3.12", "550.54.15", H100), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", KEPT,
         "550 runs CUDA 12; 2.15 has none for it"),
    Case("RTX 4090 in WSL", linux("3.10", "581.80", RTX_40), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", KEPT,
         "WSL is Linux with the Windows driver"),
    Case("RTX 5090 in WSL, driver of CUDA 12", linux("3.12", "576.88", RTX_50), "2.11.0+cu128", "2.8.3+cu128torch2.11", "0.0.35 cu128", KEPT,
         "2.13 for cu129 would run, but no flash-attn with code for 12.0 was built for it"),
    Case("RTX 5090, driver of CUDA 12", linux("3.13", "570.133.20", RTX_50), "2.11.0+cu128", "2.8.3+cu128torch2.11", "0.0.35 cu128", KEPT,
         "as in WSL"),
    Case("A100 with torch 2.6.0+cu124", linux("3.11", "535.129.03", A100, torch="2.6.0+cu124", glibc=(2, 31)), KEPT, "2.8.3+cu124torch2.6", "0.0.29.post3 cu124", KEPT,
         "535 runs CUDA 12; 2.6 for cu124 has the old C++ ABI, and so have the wheels built for it"),
    Case("A100 on glibc 2.17 with torch 2.5.1+cu124", linux("3.11", "550.54.15", A100, torch="2.5.1+cu124", glibc=(2, 17)), NOT_ASKED, "2.8.3+cu124torch2.5", None, KEPT,
         "a wheel for plain linux_x86_64 requires no C library version; xformers needs glibc 2.28"),
    Case("V100", linux("3.12", "580.95.05", V100), "2.14.1+cu126", None, None, KEPT,
         "only cu126 has code for 7.0; flash-attn needs 8.0, xformers since 0.0.31 needs 7.5"),
    Case("RTX 2080 Ti", linux("3.14", "580.95.05", RTX_2080), "2.14.1+cu130", None, "0.0.35 cu130", KEPT,
         "cu130 has code for 7.5"),
    Case("B200", linux("3.12", "580.95.05", B200), "2.14.1+cu130", "2.8.3+cu130torch2.14", "0.0.35 cu130", KEPT,
         "flash-attn built with CUDA 13 has code for 10.0"),
    Case("GH200", linux("3.12", "580.95.05", H100, cpu="aarch64"), "2.14.1+cu130", "2.8.3+cu130torch2.14", None, KEPT,
         "there is no xformers for ARM"),
    Case("DGX Spark", linux("3.12", "580.95.05", SPARK, cpu="aarch64", glibc=(2, 39)), "2.14.1+cu130", "2.8.3+cu130torch2.14", None, KEPT,
         "code for 12.0 runs on 12.1"),
    Case("H100 with torch 2.4.0+cu121", linux("3.10", "535.54.03", H100, torch="2.4.0+cu121"), NOT_ASKED, "2.8.0+cu121torch2.4", "0.0.27.post2 cu121", KEPT,
         "the same CUDA comes before a newer version"),
    Case("L40S with torch 2.8.0+cu128", linux("3.12", "570.124.06", RTX_40, torch="2.8.0+cu128"), KEPT, "2.8.2+cu128torch2.8", "0.0.32.post2 cu128", KEPT,
         "Dao-AILab's own wheel for 2.8 has the old C++ ABI, torch the new one; xformers accepts 2.8.2"),
    Case("RTX 5070 laptop with torch 2.10.0+cu128", linux("3.14", "570.153.02", RTX_50, torch="2.10.0+cu128"), KEPT, "2.8.3+cu128torch2.10", "0.0.35 cu128", KEPT,
         "cu128 has code for 12.0"),
    Case("RTX 4090, first driver of CUDA 12", linux("3.12", "525.60.13", RTX_40), "2.14.1+cu126", "2.8.3+cu126torch2.14", "0.0.35 cu126", KEPT,
         "525.60.13 is the minimum of CUDA 12 on Linux"),
    Case("no NVIDIA GPU", linux("3.12", None), "2.15.0", None, None, None,
         "the newest CPU build"),
)  # fmt: skip


def chosen(choice: Choice) -> str | None:
    if choice.kept:
        return KEPT
    if choice.item is None:
        return None
    wheel, index = choice.item.wheel, choice.item.index
    if choice.package == "xformers" and index:
        return f"{choice.item.version} {index.rpartition('/')[2]}"
    if wheel is None or choice.package == "triton-windows":
        return choice.item.version
    return wheel.filename.split("-")[1]


@pytest.mark.parametrize("case", CASES, ids=[f"{c.machine.system}: {c.name}" for c in CASES])
def test_each_machine_gets_the_expected_packages(case: Case) -> None:
    packages = PACKAGES[1:] if case.torch == NOT_ASKED else PACKAGES
    choices = resolve(case.machine, shipped_catalogue(), packages).choices
    expected = dict(zip(PACKAGES, (case.torch, case.flash_attn, case.xformers, case.triton), strict=True))
    assert [chosen(choice) for choice in choices] == [expected[package] for package in packages]
    for choice in choices:
        assert choice.reasons
        if choice.item and choice.item.wheel and choice.package == "flash-attn":
            tags = choice.item.wheel.filename.removesuffix(".whl").split("-")[2:]
            python = "cp" + case.machine.python.replace(".", "")
            assert tags[:2] == [python, python + "t" * case.machine.free_threaded]
            assert tags[2].endswith(case.machine.platform.partition("_")[2])


@pytest.mark.parametrize("case", [c for c in CASES if c.torch == NOT_ASKED], ids=lambda case: case.name)
def test_a_torch_too_old_for_aios_is_replaced_when_torch_is_requested(case: Case) -> None:
    (choice,) = resolve(case.machine, shipped_catalogue(), ["torch"]).choices
    assert choice.item is not None
    assert choice.item.version == "2.14.1+cu126"
    assert "aios supports 2.6 or newer" in choice.reasons[-1]


def test_packages_for_a_torch_that_the_driver_cannot_run_are_not_chosen() -> None:
    old_driver = windows("3.12", "560.94", RTX_40, torch="2.13.0+cu130")
    for choice in resolve(old_driver, shipped_catalogue(), ["flash-attn", "xformers", "triton"]).choices:
        assert choice.item is None
        assert "must be replaced first: CUDA 13 needs driver 580 or newer" in choice.reasons[0]


def test_without_torch_no_flash_attn_is_chosen() -> None:
    (choice,) = resolve(windows("3.12", "581.80", RTX_40), shipped_catalogue(), ["flash-attn"]).choices
    assert choice.reasons == ("torch is not installed, and is not among the packages to install",)


def test_musl_linux_and_windows_on_arm_have_no_cuda_builds() -> None:
    for platform in ("musllinux_1_2_x86_64", "win_arm64"):
        machine = Machine("3.12", platform, compute_capabilities=(RTX_40,), driver="581.80")
        choices = resolve(machine, shipped_catalogue()).choices
        assert choices[0].reasons == (f"PyTorch publishes no CUDA build for {platform}",)
        assert not any(choice.item for choice in choices)


@pytest.mark.parametrize(
    ("torch", "python", "gpu", "installed", "reason"),
    [
        ("2.14.1+cu130", "3.12", RTX_50, (), "0.0.35 has no kernels of its own for compute capability 12.0 and needs flash-attn >=2.7.1,<=2.8.4"),
        ("2.9.1+cu128", "3.12", RTX_50, (), "0.0.33.post2 has no kernels of its own for compute capability 12.0 and needs flash-attn >=2.7.1,<=2.8.4"),
        ("2.13.0+cu130", "3.12", RTX_40, (("flash-attn", "2.9.1"),), "0.0.35 refuses flash-attn 2.9.1: it accepts >=2.7.1,<=2.8.4"),
        ("2.8.0+cu128", "3.12", RTX_40, (("flash-attn", "2.8.3"),), "0.0.32.post2 refuses flash-attn 2.8.3: it accepts >=2.7.1,<=2.8.2"),
        ("2.7.1+cu128", "3.12", RTX_40, (("flash-attn", "2.8.2"),), "0.0.31.post1 refuses flash-attn 2.8.2: it accepts >=2.7.1,<=2.8.0"),
    ],
)  # fmt: skip
def test_no_xformers_that_cannot_work_here_is_chosen_or_named_as_the_fallback(
    torch: str, python: str, gpu: GPU, installed: tuple[tuple[str, str], ...], reason: str
) -> None:
    machine = replace(windows(python, "610.47", gpu, torch=torch), installed=installed)
    alone = resolve(machine, shipped_catalogue(), ["xformers"])
    assert (alone.choices[0].item, alone.fallback) == (None, "sdpa")
    assert reason in alone.choices[0].reasons
    no_wheels = Catalogue(as_of="2026-12-01", publishers=(), wheels=())
    assert resolve_one(machine, no_wheels, "flash-attn").fallback == "sdpa"


@pytest.mark.parametrize("flash_attn", ["2.7.1", "2.8.3.post1", "2.8.4"])
def test_xformers_on_compute_capability_12_beside_a_flash_attn_that_it_accepts(flash_attn: str) -> None:
    machine = replace(
        windows("3.12", "610.47", RTX_50, torch="2.14.1+cu130"), installed=(("flash-attn", flash_attn),)
    )
    (choice,) = resolve(machine, shipped_catalogue(), ["xformers"]).choices
    assert choice.item is not None
    assert choice.item.version == "0.0.35"


def test_flash_attn_beside_an_installed_xformers_is_one_that_it_accepts() -> None:
    plain = windows("3.12", "581.80", RTX_40, torch="2.8.0+cu128")
    for installed, version in (("0.0.32.post2", "2.8.2"), ("0.0.31.post1", "2.8.3"), ("0.0.30", "2.8.3")):
        machine = replace(plain, installed=(("xformers", installed),))
        (choice,) = resolve(machine, shipped_catalogue(), ["flash-attn"]).choices
        assert choice.item is not None
        assert choice.item.version == version, "an xformers for another torch decides nothing"


def test_a_package_that_does_not_fit_says_how_old_the_lists_are() -> None:
    machine = windows("3.13", "581.80", RTX_40, torch="2.15.0+cu130")
    flash_attn, _, triton = resolve(machine, shipped_catalogue(), PACKAGES[1:]).choices
    assert flash_attn.reasons[-1] == (
        "the newest list of flash-attn wheels is that of mjun0812/flash-attention-prebuild-wheels of 2026-09-14; "
        "aios wheels refresh reads the current ones"
    )
    assert triton.reasons[-1] == "as known on 2026-11-30"


@pytest.mark.parametrize(
    ("publisher", "folder", "filename"),
    [
        ("Wildminder/AI-windows-whl", None, "flash_attn-2.8.3+cu130torch2.11.0cxx11abiTRUE-cp313-cp313-win_amd64.whl"),
        ("ussoewwin/Flash-Attention-2_for_Windows", None, "flash_attn-2.9.1+cu132torch2.13.0cxx11abiTRUE-cp313-cp313-win_amd64.whl"),
        ("mjun0812/flash-attention-prebuild-wheels", "v0.7.13", "flash_attn-2.8.3+cu128torch2.9-cp312-cp312-win_amd64.whl"),
    ],
)  # fmt: skip
def test_a_file_that_is_known_not_to_work_is_never_chosen(
    publisher: str, folder: str | None, filename: str
) -> None:
    """`aios wheels refresh` may list it again."""
    _, label, tag = re.split(r"\+|-cp", filename, maxsplit=2)
    cuda, torch = re.findall(r"cu(\d+)torch(\d+\.\d+)", label)[0]
    machine = windows(f"3.{tag[1:3]}", "610.47", RTX_40, torch=f"{torch}.0+cu{cuda}")
    for name, chosen_ in ((publisher, False), ("somebody/else", True)):
        only = Catalogue(
            as_of="2026-12-01",
            publishers=(Publisher(id=name, download="https://example.org/"),),
            wheels=((filename, 0, folder, None, None),),
        )
        (choice,) = resolve(machine, only, ["flash-attn"]).choices
        assert bool(choice.item) is chosen_, choice.reasons


def test_unknown_facts_exclude_nothing() -> None:
    machine = Machine("3.12", "linux_x86_64", compute_capabilities=None)
    torch, flash_attn, xformers, _ = resolve(machine, shipped_catalogue()).choices
    assert torch.item and torch.item.version == "2.14.1+cu130"
    assert torch.reasons == ("the newest build for Python 3.12 that flash-attn supports",)
    assert flash_attn.item and xformers.item


def test_a_machine_without_a_gpu_gets_no_gpu_kernels() -> None:
    machine = windows("3.12", None)
    choices = resolve(machine, shipped_catalogue()).choices
    assert [choice.reasons[0] for choice in choices[1:]] == ["there is no NVIDIA GPU"] * 3
    assert choices[0].item and choices[0].item.index is None, "from the package index: it has the CPU build"
