"""Which installed packages a plan keeps: never a pair of which one refuses the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from doctor.host import Distribution
from doctor.host.machine import load_machine
from doctor.host.recorded import RecordedHost
from doctor.install.environment_facts import EnvironmentFacts, read_facts
from doctor.install.kept_packages import keep_if_it_fits, without_refusals
from wheels.catalogue import shipped_catalogue
from wheels.machine import TorchBuild
from wheels.resolve import resolve

MACHINE = Path(__file__).parents[2] / "machines" / "windows-rtx4090.json"
FLASH = "flash-attn"


@pytest.fixture(scope="module")
def machine() -> EnvironmentFacts:
    return read_facts(RecordedHost(load_machine(MACHINE)))


def kept(facts: EnvironmentFacts, torch: str, installed: dict[str, str], *packages: str) -> dict[str, str]:
    """What is kept, installed or left out beside this torch: "kept", a version or "none"."""
    version, _, tag = torch.partition("+")
    build = TorchBuild(Version(version), tag)
    distributions = {
        name: Distribution(name=name, version=text, location="site") for name, text in installed.items()
    }
    here = replace(facts.machine, torch=build, installed=tuple(installed.items()))
    facts = replace(facts, machine=here, installed=distributions, broken=frozenset())
    resolution = resolve(here, shipped_catalogue(), packages)
    choices = tuple(keep_if_it_fits(choice, build, facts) for choice in resolution.choices)
    return {
        choice.package: "kept" if choice.kept else choice.item.version if choice.item else "none"
        for choice in without_refusals(choices, resolution, facts)
    }


@pytest.mark.parametrize(
    ("torch", "installed", "expected"),
    [
        # a flash-attn that works is not replaced for an xformers that is not there
        ("2.8.0+cu128", {FLASH: "2.8.3+cu128torch2.8"}, {FLASH: "kept", "xformers": "none"}),
        # of two that cannot work together, flash-attn is replaced
        (
            "2.8.0+cu128",
            {FLASH: "2.8.3+cu128torch2.8", "xformers": "0.0.32.post2"},
            {FLASH: "2.8.2", "xformers": "0.0.32.post2"},
        ),
        ("2.8.0+cu128", {FLASH: "2.8.2+cu128torch2.8"}, {FLASH: "kept", "xformers": "0.0.32.post2"}),
        ("2.13.0+cu130", {FLASH: "2.8.3+cu130torch2.13"}, {FLASH: "kept", "xformers": "0.0.35"}),
    ],
)
def test_flash_attn_and_xformers(
    machine: EnvironmentFacts, torch: str, installed: dict[str, str], expected: dict[str, str]
) -> None:
    assert kept(machine, torch, installed, FLASH, "xformers") == expected


@pytest.mark.parametrize(
    ("package", "version", "expected"),
    [
        ("torchvision", "0.28.0+cu130", "kept"),
        ("torchvision", "0.28.0+cpu", "==0.28.*"),
        ("torchvision", "0.27.0+cu130", "==0.28.*"),
        ("torchaudio", "2.11.0", "kept"),
        ("torchcodec", "0.17.0", "kept"),
        ("torchcodec", "0.11.0", "0.17.0"),
        ("bitsandbytes", "0.50.2", "kept"),
        ("bitsandbytes", "0.47.0", "0.50.2"),  # it has no library for CUDA 13
        ("sageattention", "2.2.0+cu130torch2.10.0andhigher.post6", "kept"),
        ("sageattention", "2.2.0+cu128torch2.9.1.post6", "2.2.0"),
        ("flash-attn-4", "4.0.0b36", "kept"),
        ("flash-attn-4", "4.0.0b30", "4.0.0b36"),
    ],
)
def test_a_package_on_request_is_kept_if_it_is_for_this_torch(
    machine: EnvironmentFacts, package: str, version: str, expected: str
) -> None:
    assert kept(machine, "2.13.0+cu130", {package: version}, package) == {package: expected}
