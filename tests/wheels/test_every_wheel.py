"""Every published wheel, against a second, slow implementation of the rules that uses packaging's parsers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from wheels import flash_attn, triton, xformers
from wheels.catalogue import SHIPPED, Wheel, shipped_catalogue
from wheels.machine import Machine, TorchBuild
from wheels.xformers_releases import xformers_torch_requirement

CATALOGUE = shipped_catalogue()
PACKAGES = ("flash-attn", "flash-attn-3", "xformers", "triton-windows", "sageattention")
PLATFORMS = ("win_amd64", "linux_x86_64", "linux_aarch64")
WHEELS = [wheel for platform in PLATFORMS for wheel in CATALOGUE.of("flash-attn", platform)]
NEWEST_GLIBC = 45
# What flash-attn's setup.py tells each nvcc to compile for, and the GPUs that run that code.
CODE = {
    "11.6": {(8, 0), (8, 6), (8, 7), (8, 9)},
    "11.8": {(8, 0), (8, 6), (8, 7), (8, 9), (9, 0)},
    "12.8": {(8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)},
}
GPUS = [(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]


@cache
def accepted_tags(python: str, free_threaded: bool, platform: str, glibc: int) -> frozenset[str]:
    version = (3, int(python.partition(".")[2]))
    interpreter = f"cp3{version[1]}"
    platforms = [platform]
    if platform.startswith("linux_"):
        machine = platform.removeprefix("linux_")
        platforms += [f"manylinux_2_{minor}_{machine}" for minor in range(5, glibc + 1)]
        platforms += [f"manylinux2014_{machine}"] * (glibc >= 17)
    abi = interpreter + "t" * free_threaded
    tags = [
        *cpython_tags(version, abis=[abi], platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    ]
    return frozenset(map(str, tags))


def label(filename: str) -> str:
    return str(parse_wheel_filename(filename)[1].local or "")


def cuda_of(filename: str) -> tuple[int, int | None] | None:
    found = re.findall(r"cu(\d+)", label(filename).replace("torch", " torch"))
    return (int(found[0][:2]), int(found[0][2:]) if found[0][2:] else None) if found else None


def torch_of(filename: str) -> str | None:
    found = re.findall(r"torch([\d.]+)", label(filename))
    if not found:
        return None
    numbers = found[0].rstrip(".").split(".")
    return ".".join(numbers[:2]) if len(numbers) > 1 else f"{found[0][0]}.{found[0][1:-1]}"


def runs_on(filename: str, gpu: tuple[int, int]) -> bool:
    major, minor = cuda_of(filename) or (0, 0)
    built = Version(f"{major}.{minor or 0}")
    if parse_wheel_filename(filename)[1] < Version("2.7.4"):  # older setup.py files do not know Blackwell
        built = min(built, Version("11.8"))
    covered = max((v for v in CODE if built >= Version(v)), key=Version, default=None)
    return covered is not None and gpu in CODE[covered]


def new_abi(torch: str, cuda: object) -> bool:
    return Version(torch) >= Version("2.7") or (torch == "2.6" and cuda == (12, 6))


def fits(filename: str, machine: Machine, torch: TorchBuild) -> bool:
    """Rule 3 of the installer, from the filename alone."""
    glibc = machine.glibc[1] if machine.glibc else NEWEST_GLIBC
    tags = accepted_tags(machine.python, machine.free_threaded, machine.platform, glibc)
    cuda = cuda_of(filename)
    if not {str(tag) for tag in parse_wheel_filename(filename)[3]} & tags or cuda is None:
        return False
    if torch_of(filename) != torch.minor or torch.cuda is None or cuda[0] != torch.cuda[0]:
        return False
    abi = re.findall(r"cxx11abi(true|false)", label(filename), re.IGNORECASE)
    if torch.minor == "2.6" or abi:
        built_with = cuda if cuda[1] is not None else None
        has_new = abi[0].lower() == "true" if abi else built_with and new_abi(torch.minor, built_with)
        if machine.platform != "win_amd64" and has_new not in (None, new_abi(torch.minor, torch.cuda)):
            return False
    return all(runs_on(filename, gpu) for gpu in machine.compute_capabilities or ())


def is_better(one: Wheel, other: Wheel, torch: TorchBuild) -> bool:
    """Whether `one` is preferred: the same CUDA first, then a confirmed address, the nearer CUDA, the newer release."""
    assert torch.cuda is not None
    same = [cuda_of(wheel.filename) == torch.cuda for wheel in (one, other)]
    if same[0] != same[1]:
        return same[0]
    if one.publisher.confirmed != other.publisher.confirmed:
        return one.publisher.confirmed

    def distance(wheel: Wheel) -> float:
        minor = (cuda_of(wheel.filename) or (0, 0))[1]
        if minor is None:
            return 0.5
        difference = torch.cuda[1] - minor  # type: ignore[index]
        return float(difference) if difference >= 0 else 100.0 - difference

    mine, theirs = distance(one), distance(other)
    if mine != theirs:
        return mine < theirs
    if cuda_of(one.filename) != cuda_of(other.filename):
        return False
    versions = [parse_wheel_filename(wheel.filename)[1] for wheel in (one, other)]
    return Version(versions[0].public) > Version(versions[1].public)


def machine_for(wheel: Wheel) -> tuple[Machine, TorchBuild]:
    """A machine and a torch for which this wheel was made."""
    _, _, _, tags = parse_wheel_filename(wheel.filename)
    tag = sorted(tags, key=str)[0]
    cuda, torch = cuda_of(wheel.filename), torch_of(wheel.filename)
    assert cuda and torch
    machine = Machine(
        python=f"3.{tag.interpreter[3:]}",
        free_threaded=tag.abi.endswith("t"),
        platform=re.sub(r"^manylinux(2014|_\d+_\d+)", "linux", tag.platform),
        compute_capabilities=((9, 0),),
    )
    return machine, TorchBuild(Version(f"{torch}.0"), f"cu{cuda[0]}{cuda[1] or 0}")


LABELLED = [wheel for wheel in WHEELS if torch_of(wheel.filename) and cuda_of(wheel.filename)]
ONE_OF_A_KIND = {machine_for(wheel): wheel for wheel in LABELLED}


def test_the_catalogue_holds_the_published_wheels() -> None:
    assert len(WHEELS) > 3700
    assert len(LABELLED) > 3650


def test_every_filename_is_parsed_as_packaging_parses_it() -> None:
    for wheel in WHEELS:
        name, version, _, tags = parse_wheel_filename(wheel.filename)
        mine = wheel.name
        assert (mine.package, Version(mine.version)) == (name, Version(version.public))
        assert {f"{p}-{mine.abi}-{q}" for p, q in product(mine.pythons, mine.platforms)} == set(
            map(str, tags)
        )
        assert (mine.torch, mine.cuda) == (torch_of(wheel.filename), cuda_of(wheel.filename))


def test_a_matching_machine_gets_the_wheel_or_a_better_one() -> None:
    chosen = {made: flash_attn.choose(*made, CATALOGUE).item for made in ONE_OF_A_KIND}
    for wheel in LABELLED:
        machine, torch = machine_for(wheel)
        item = chosen[machine, torch]
        # Some do not fit: the old C++ ABI with a newer torch, CUDA 11.6 on a GPU of 9.0.
        if not fits(wheel.filename, machine, torch):
            continue
        assert item is not None and item.wheel is not None, wheel.filename
        assert fits(item.wheel.filename, machine, torch), (wheel.filename, item.wheel.filename)
        assert not is_better(wheel, item.wheel, torch), (wheel.filename, item.wheel.filename)


machines = st.builds(
    Machine,
    python=st.sampled_from(["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]),
    free_threaded=st.booleans(),
    platform=st.sampled_from([*PLATFORMS, "win_arm64"]),
    glibc=st.none() | st.sampled_from([(2, 17), (2, 27), (2, 28), (2, 31), (2, 34), (2, 39)]),
    compute_capabilities=st.lists(st.sampled_from(GPUS), max_size=2).map(tuple),
)
torches = st.builds(
    TorchBuild,
    st.integers(0, 15).map(lambda minor: Version(f"2.{minor}.0")),
    st.none() | st.sampled_from(["cu118", "cu121", "cu124", "cu126", "cu128", "cu129", "cu130", "cu132"]),
)


@settings(max_examples=60, deadline=None)
@given(machines, torches)
def test_chosen_and_rejected_wheels_agree_with_the_reference(machine: Machine, torch: TorchBuild) -> None:
    choice = flash_attn.choose(machine, torch, CATALOGUE)
    candidates = CATALOGUE.of("flash-attn", machine.platform)
    fitting = [wheel for wheel in candidates if fits(wheel.filename, machine, torch)]
    if not fitting:
        assert choice.item is None
        assert choice.reasons, "the reason why there is none"
        return
    assert choice.match is not None and choice.item is not None
    assert set(choice.match.wheels) == set(fitting)
    assert {rejected.wheel for rejected in choice.match.rejected} == set(candidates) - set(fitting)
    assert choice.item.wheel == choice.match.wheels[0]
    assert not [wheel for wheel in fitting if is_better(wheel, choice.match.wheels[0], torch)]


@pytest.mark.parametrize("wrong", ["cuda", "torch", "python", "platform", "gpu"])
def test_a_wheel_is_never_chosen_for_a_machine_that_it_does_not_fit(wrong: str) -> None:
    changes = {
        "cuda": lambda m, t: (m, TorchBuild(t.version, "cu118" if t.cuda_tag != "cu118" else "cu130")),
        "torch": lambda m, t: (m, TorchBuild(Version("1.13.0"), t.cuda_tag)),
        "python": lambda m, t: (Machine("3.8" if m.python != "3.8" else "3.12", m.platform), t),
        "platform": lambda m, t: (Machine(m.python, "win_arm64"), t),
        "gpu": lambda m, t: (Machine(m.python, m.platform, compute_capabilities=((6, 1),)), t),
    }
    for machine, torch in list(ONE_OF_A_KIND)[::7]:
        other = changes[wrong](machine, torch)
        item = flash_attn.choose(*other, CATALOGUE).item
        assert item is None or (item.wheel and fits(item.wheel.filename, *other))


# -- the other packages


def made_for(wheel: Wheel, torch: str, cuda_tag: str) -> Iterator[tuple[Machine, TorchBuild]]:
    """A machine for each Python that the wheel names, with a GPU that every package supports."""
    _, _, _, tags = parse_wheel_filename(wheel.filename)
    for tag in tags:
        minor = int(re.sub(r"\D+\d", "", tag.interpreter))
        machine = Machine(f"3.{minor}", tag.platform, tag.abi.endswith("t"), compute_capabilities=((8, 9),))
        yield machine, TorchBuild(Version(torch), cuda_tag)


TRITON_OF_TORCH = {  # triton-windows' README
    "3.1": "2.5", "3.2": "2.6", "3.3": "2.7", "3.4": "2.8", "3.5": "2.9", "3.6": "2.10", "3.7": "2.13", "3.8": "2.14",
}  # fmt: skip


def test_a_matching_machine_gets_the_triton_or_a_newer_one_of_the_same_minor() -> None:
    wheels = CATALOGUE.of("triton-windows")
    assert len(wheels) > 180
    for wheel in wheels:
        version = Version(wheel.name.version)
        minor = f"{version.major}.{version.minor}"
        for machine, torch in made_for(wheel, TRITON_OF_TORCH[minor] + ".0", "cu126"):
            item = triton.choose(machine, torch, CATALOGUE).item
            assert item is not None and item.wheel is not None, wheel.filename
            assert item.wheel.filename.split("-")[2:] == wheel.filename.split("-")[2:]
            assert Version(item.version) >= version
            assert Version(item.version).release[:2] == version.release[:2]


@pytest.mark.parametrize("torch", [f"2.{minor}.0" for minor in range(4, 16)])
def test_the_chosen_triton_is_for_this_torch(torch: str) -> None:
    minor = TorchBuild(Version(torch), None).minor
    expected = {"2.4": "3.1", "2.11": "3.6", "2.12": "3.7"} | {t: v for v, t in TRITON_OF_TORCH.items()}
    machine = Machine("3.12", "win_amd64", compute_capabilities=((8, 9),))
    item = triton.choose(machine, TorchBuild(Version(torch), "cu130"), CATALOGUE).item
    assert (item and item.version.rpartition(".")[0].rpartition(".")[0]) == expected.get(minor)


def test_a_matching_machine_gets_the_labelled_xformers_or_a_newer_one() -> None:
    labelled = [w for w in CATALOGUE.of("xformers", "win_amd64") if torch_of(w.filename)]
    assert len(labelled) == 9
    for wheel in labelled:
        torch, cuda = torch_of(wheel.filename), cuda_of(wheel.filename)
        assert torch and cuda
        for machine, build in made_for(wheel, f"{torch}.0", f"cu{cuda[0]}{cuda[1]}"):
            item = xformers.choose(machine, build, CATALOGUE).item
            assert item is not None, wheel.filename
            assert Version(item.version) >= Version(wheel.name.version)
            assert item.index is None or item.index.endswith(build.cuda_tag or "")


@settings(max_examples=60, deadline=None)
@given(machines, torches)
def test_the_chosen_xformers_accepts_this_torch_and_its_cuda(machine: Machine, torch: TorchBuild) -> None:
    item = xformers.choose(machine, torch, CATALOGUE).item
    if item is None:
        return
    assert torch.cuda_tag
    if item.wheel:
        name = item.wheel.filename
        assert (torch_of(name), cuda_of(name)) == (torch.minor, torch.cuda)
        tags = accepted_tags(machine.python, machine.free_threaded, machine.platform, NEWEST_GLIBC)
        assert {str(tag) for tag in parse_wheel_filename(name)[3]} & tags
        return
    requirement = xformers_torch_requirement(Version(item.version))
    assert requirement and torch.version.base_version in SpecifierSet(requirement)
    assert item.index and item.index.endswith(f"/{torch.cuda_tag}")
    assert machine.platform in ("win_amd64", "linux_x86_64")
    assert machine.glibc is None or machine.platform == "win_amd64" or machine.glibc >= (2, 28)
    if Version(item.version) < Version("0.0.35"):  # newer ones use the stable ABI
        assert not machine.free_threaded


# -- the shipped catalogue itself


def test_every_address_is_unique_and_well_formed() -> None:
    wheels = [w for package in PACKAGES for w in CATALOGUE.of(package)]
    assert len(wheels) == len(CATALOGUE.wheels), (
        "every row is of a supported package, and its name can be parsed"
    )
    addresses = [wheel.url or wheel.filename for wheel in wheels]
    assert len(addresses) == len(set(addresses))
    for wheel in wheels:
        if wheel.url is None:
            continue
        address = urlsplit(wheel.url)
        assert (address.scheme, address.query, address.fragment) == ("https", "", "")
        assert unquote(address.path).endswith(f"/{wheel.filename}")
        assert "+" not in address.path, "not every tool accepts a literal plus"
        assert address.netloc in {"github.com", "huggingface.co", "royallab-pip-index.netlify.app"}


def test_the_catalogue_validates_against_its_schema() -> None:
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    schema = json.loads(
        SHIPPED.with_name("schemas").joinpath("catalogue.schema.json").read_text(encoding="utf-8")
    )
    jsonschema.Draft202012Validator(schema).validate(content)
    assert SHIPPED.stat().st_size < 500_000
