"""The packages that are installed on request, on machines for which the fitting release was looked up by hand."""

from __future__ import annotations

import pytest
from packaging.version import Version

from wheels.catalogue import shipped_catalogue
from wheels.machine import Machine, TorchBuild
from wheels.packages import INSTALLABLE, ON_REQUEST, PACKAGES, needed
from wheels.resolve import resolve

INDEX = "https://download.pytorch.org/whl/"


def machine(
    torch: str, platform: str = "win_amd64", gpu: tuple[int, int] = (8, 9), **more: object
) -> Machine:
    version, _, tag = torch.partition("+")
    build = TorchBuild(Version(version), tag or None)
    options = {"python": "3.12", "driver": "610.47", "compute_capabilities": (gpu,), **more}
    return Machine(platform=platform, torch=build, **options)  # type: ignore[arg-type]


# The releases that belong together, as their projects publish them; cuda: the index
@pytest.mark.parametrize(
    ("package", "torch", "platform", "requirement", "index"),
    [
        ("torchvision", "2.14.1+cu130", "win_amd64", "torchvision==0.29.*", "cu130"),
        ("torchvision", "2.8.0+cu128", "linux_x86_64", "torchvision==0.23.*", "cu128"),
        ("torchaudio", "2.14.1+cu130", "win_amd64", "torchaudio==2.11.*", "cu130"),
        ("torchcodec", "2.8.0+cu128", "win_amd64", "torchcodec==0.7.0", None),
        ("torchcodec", "2.9.1+cu128", "win_amd64", "torchcodec==0.9.1", None),
        ("torchcodec", "2.14.1+cu130", "linux_x86_64", "torchcodec==0.17.0", "cu130"),
        ("bitsandbytes", "2.14.1+cu130", "win_amd64", "bitsandbytes==0.50.2", None),
        ("bitsandbytes", "2.12.1+cu132", "linux_aarch64", "bitsandbytes==0.50.2", None),
        ("flash-attn-4", "2.14.1+cu130", "linux_x86_64", "flash-attn-4==4.0.0b36", None),
        ("sageattention", "2.14.1+cu130", "linux_x86_64", "sageattention==1.0.6", None),
    ],
)
def test_the_release_for_a_torch(
    package: str, torch: str, platform: str, requirement: str, index: str | None
) -> None:
    (choice,) = resolve(machine(torch, platform), shipped_catalogue(), [package]).choices
    assert choice.item is not None, choice.reasons
    assert (choice.item.requirement, choice.item.index) == (requirement, index and INDEX + index)


@pytest.mark.parametrize(
    ("torch", "gpu", "python", "label"),
    [
        ("2.14.1+cu130", (12, 0), "3.13", "cu130torch2.10.0andhigher.post6"),
        ("2.10.0+cu126", (8, 6), "3.12", "cu128torch2.10.0andhigher.post6"),  # the CUDA minor does not matter
        ("2.9.1+cu128", (8, 9), "3.11", "cu128torch2.9.1.post6"),
        ("2.9.0+cu130", (8, 9), "3.10", "cu130torch2.9.1.post6"),
        ("2.8.0+cu128", (12, 0), "3.12", "cu128torch2.8.0.post3"),
        ("2.6.0+cu126", (8, 6), "3.12", "cu126torch2.6.0.post3"),
        ("2.6.0+cu126", (7, 5), "3.12", "cu126torch2.6.0.post3"),  # by Triton 3.2
    ],
)
def test_the_sageattention_wheel_for_windows(
    torch: str, gpu: tuple[int, int], python: str, label: str
) -> None:
    (choice,) = resolve(
        machine(torch, gpu=gpu, python=python), shipped_catalogue(), ["sageattention"]
    ).choices
    assert choice.item and choice.item.wheel, choice.reasons
    assert choice.item.wheel.filename.startswith(f"sageattention-2.2.0+{label}-")
    assert choice.item.wheel.sha256


@pytest.mark.parametrize(
    ("package", "changes", "reason"),
    [
        ("sageattention", {"torch": "2.7.1+cu118"}, "CUDA"),
        ("sageattention", {"torch": "2.14.1+cu130", "gpu": (7, 5)}, "has no code for compute capability 7.5"),
        ("torchcodec", {"torch": "2.6.0+cu126"}, "were not built for win_amd64"),
        ("torchcodec", {"torch": "2.14.1+cu130", "python": "3.15"}, "was not built for Python 3.15"),
        ("bitsandbytes", {"torch": "2.13.0+cu126", "gpu": (5, 2)}, "needs compute capability 6.0"),
        ("bitsandbytes", {"torch": "2.13.0+cu130", "platform": "win_arm64"}, "is not built for win_arm64"),
        ("flash-attn-4", {"torch": "2.13.0+cu130", "gpu": (7, 5)}, "needs compute capability 8.0"),
        ("flash-attn-4", {"torch": "2.15.0+cu130", "python": "3.15"}, "is not built for Python 3.15"),
        ("torchvision", {"torch": "2.16.0+cu130"}, "no release for torch 2.16.0 for cu130 is known"),
    ],
)
def test_what_does_not_fit_has_a_reason_and_a_date(
    package: str, changes: dict[str, object], reason: str
) -> None:
    (choice,) = resolve(machine(**changes), shipped_catalogue(), [package]).choices  # type: ignore[arg-type]
    assert choice.item is None
    assert reason in choice.reasons[0]
    assert "2026-" in choice.reasons[-1]


def test_flash_attn_4_needs_a_cutlass_for_windows_and_for_cuda_13() -> None:
    also = {}
    for torch, platform in (
        ("2.14.1+cu130", "win_amd64"),
        ("2.14.1+cu126", "win_amd64"),
        ("2.14.1+cu130", "linux_x86_64"),
    ):
        (choice,) = resolve(machine(torch, platform), shipped_catalogue(), ["flash-attn-4"]).choices
        assert choice.item is not None
        also[torch, platform] = choice.item.also
    assert also == {
        ("2.14.1+cu130", "win_amd64"): ("nvidia-cutlass-dsl[cu13]>=4.8",),
        ("2.14.1+cu126", "win_amd64"): ("nvidia-cutlass-dsl>=4.8",),
        ("2.14.1+cu130", "linux_x86_64"): ("nvidia-cutlass-dsl[cu13]>=4.6.2",),
    }


@pytest.mark.parametrize(("gpu", "trains"), [((8, 6), False), ((9, 0), True), ((12, 0), True)])
def test_flash_attn_4_says_where_it_cannot_train(gpu: tuple[int, int], trains: bool) -> None:
    (choice,) = resolve(machine("2.14.1+cu130", gpu=gpu), shipped_catalogue(), ["flash-attn-4"]).choices
    assert choice.reasons[0] == "a pre-release: there is no other release"
    assert ("inference only" in choice.reasons[-1]) is not trains


def test_flash_attn_4_is_never_taken_for_flash_attn() -> None:
    catalogue = shipped_catalogue()
    assert {wheel.name.package for wheel in catalogue.of("flash-attn")} == {"flash-attn"}


# xformers/ops/fmha/flash.py of 0.0.35: it imports flash_attn.flash_attn_interface wherever it finds flash_attn
@pytest.mark.parametrize(
    ("installed", "asked", "reason"),
    [
        ({"flash-attn-4": "4.0.0b36"}, ["xformers"], "0.0.35 cannot be imported beside flash-attn-4 unless"),
        ({"xformers": "0.0.35"}, ["flash-attn-4"], "the installed xformers 0.0.35 cannot be imported beside"),
        ({"xformers": "0.0.35", "flash-attn": "2.8.3"}, ["flash-attn-4"], ""),
        ({"flash-attn-4": "4.0.0b36", "flash-attn": "2.8.3"}, ["xformers"], ""),
        ({"xformers": "0.0.30"}, ["flash-attn-4"], ""),
    ],
)
def test_xformers_beside_flash_attn_4(installed: dict[str, str], asked: list[str], reason: str) -> None:
    here = machine("2.13.0+cu130", installed=tuple(installed.items()))
    (choice,) = resolve(here, shipped_catalogue(), asked).choices
    assert (choice.item is None) is bool(reason)
    assert choice.reasons[0].startswith(reason)


def test_all_three_in_one_plan_work_together() -> None:
    asked = ("flash-attn", "xformers", "flash-attn-4")
    choices = resolve(machine("2.13.0+cu130"), shipped_catalogue(), asked).choices
    assert [choice.item is not None for choice in choices] == [True, True, True]
    turing = resolve(machine("2.13.0+cu130", gpu=(7, 5)), shipped_catalogue(), asked).choices
    assert [choice.item is not None for choice in turing] == [False, True, False]


def test_without_a_gpu_only_the_packages_of_torch_are_chosen() -> None:
    cpu = machine("2.14.1", compute_capabilities=(), driver=None)
    choices = resolve(cpu, shipped_catalogue(), ON_REQUEST).choices
    found = {choice.package: choice.item is not None for choice in choices}
    assert found == {name: name.startswith("torch") for name in ON_REQUEST}


def test_packages_are_installed_in_one_order_and_with_those_that_they_need() -> None:
    assert needed(("sageattention", "torch")) == ("torch", "triton", "sageattention")
    assert needed(["flash-attn-4"]) == ("triton", "flash-attn-4")
    assert needed(reversed(INSTALLABLE)) == INSTALLABLE  # type: ignore[arg-type]
    assert needed(PACKAGES) == PACKAGES
