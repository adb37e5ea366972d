"""Every torch from 2.6 to 2.15, Python, GPU and system, against a second reading of the publishers' lists.

The second reading uses neither the resolver nor its tables: file names from the catalogue's JSON, and facts entered by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

import pytest

from wheels.choice import Choice

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from make_wheel_matrix import CAPABILITIES, PAGE, PYTHONS, Cell, matrix, page  # noqa: E402

Answers: TypeAlias = dict[Cell, "tuple[Choice, ...] | str"]
SYSTEMS = {"win_amd64": "Windows", "linux_x86_64": "Linux"}

# -- what is published, by hand: PyTorch's release notes and support matrices, the RFC pytorch/pytorch#190385

BUILDS = {
    "2.6": {"Windows": "118 124 126", "Linux": "118 124 126"},
    "2.7": {"Windows": "118 126 128", "Linux": "118 126 128"},
    "2.8": {"Windows": "126 128 129", "Linux": "126 128 129"},
    "2.9": {"Windows": "126 128 130", "Linux": "126 128 130"},
    "2.10": {"Windows": "126 128 130", "Linux": "126 128 130"},
    "2.11": {"Windows": "126 128 130", "Linux": "126 128 130"},
    "2.12": {"Windows": "126 130 132", "Linux": "126 130 132"},
    "2.13": {"Windows": "126 130 132", "Linux": "126 129 130 132"},
    "2.14": {"Windows": "126 130 132", "Linux": "126 130 132"},
    "2.15": {"Windows": "130 132", "Linux": "130 132"},  # Windows: not seen, asked for all the same
}
PYTHONS_OF_TORCH = {
    "2.6": (10, 13), "2.7": (10, 13), "2.8": (10, 13), "2.9": (10, 14), "2.10": (10, 14), "2.11": (10, 14),
    "2.12": (10, 14), "2.13": (10, 14), "2.14": (10, 14), "2.15": (11, 14),
}  # fmt: skip
# The xformers of each torch, and the CUDA builds on PyTorch's index: README and CHANGELOG of facebookresearch/xformers
XFORMERS = {
    "2.6": ("0.0.29.post3", "124 126", "118 124 126"),
    "2.7": ("0.0.31.post1", "126 128", "118 126 128"),
    "2.8": ("0.0.32.post2", "126 128 129", "126 128 129"),
    "2.9": ("0.0.33.post2", "126 128 130", "126 128 130"),
    "2.10": ("0.0.35", "126 128 130", "126 128 130"),
} | {f"2.{minor}": ("0.0.35", "126 128 130", "126 128 130") for minor in range(11, 16)}
ONE_PYTHON_EACH = {"0.0.29.post3": (10, 12)}  # later ones have the stable ABI
# What an xformers accepts (xformers/ops/fmha/flash.py); its wheels for Blackwell under Windows
NEWEST_FLASH_ATTN = {"0.0.31.post1": (2, 8, 0), "0.0.32.post2": (2, 8, 2)}
FLASH3_FAULT = ("2.7", "2.8")
TRITON = {
    "2.6": "3.2", "2.7": "3.3", "2.8": "3.4", "2.9": "3.5", "2.10": "3.6", "2.11": "3.6", "2.12": "3.7", "2.13": "3.7",
    "2.14": "3.8",
}  # fmt: skip

ROWS = json.loads((ROOT / "wheels" / "catalogue.json").read_text(encoding="utf-8"))
NAME = re.compile(
    r"(?P<package>flash_attn|xformers|triton_windows)-(?P<version>[^+-]+)(?:\+(?P<label>[^-]+))?-(?P<python>\w+)-(?P<abi>\w+)-(?P<platform>.+)\.whl"
)


def published() -> list[dict[str, str]]:
    return [found.groupdict() for row in ROWS["wheels"] if (found := NAME.fullmatch(row[0]))]


PUBLISHED = published()


def number(tag: str) -> tuple[int, int]:
    return int(tag[:2]), int(tag[2:] or 0)


def label_of(row: dict[str, str]) -> tuple[str, str, str] | None:
    """CUDA digits, torch minor and C++ ABI in a label; None: it does not state CUDA and torch."""
    label = row["label"] or ""
    cuda = re.search(r"cu(\d+)", re.sub("torch", " torch", label))
    torch = re.search(r"torch(\d+)\.(\d+)", label) or re.search(r"torch(\d)(\d{1,2})\d", label)
    if not cuda or not torch:
        return None
    abi = re.search(r"cxx11abi(true|false|1|0)", label, re.IGNORECASE)
    return (
        cuda[1],
        f"{torch[1]}.{torch[2]}",
        {"1": "true", "0": "false"}.get(abi[1], abi[1].lower()) if abi else "",
    )


def has_code(cuda: str, version: str, capability: tuple[int, int]) -> bool:
    """flash-attn's setup.py: 8.0 always, 9.0 from CUDA 11.8, Blackwell from CUDA 12.8 and flash-attn 2.7.4."""
    if capability < (8, 0):
        return False
    if capability < (9, 0):
        return True
    if capability < (10, 0):
        return number(cuda) >= (11, 8)
    return number(cuda) >= (12, 8) and parts(version) >= (2, 7, 4)


def parts(version: str) -> tuple[int, ...]:
    return tuple(int(text) for text in re.findall(r"\d+", version.partition(".post")[0]))[:3]


def index() -> dict[tuple[str, str, str], list[tuple[str, str, str]]]:
    """flash-attn's wheels by system, torch minor and Python: CUDA digits, version, ABI."""
    found = defaultdict(list)
    for row in PUBLISHED:
        system = {"win_amd64": "Windows"}.get(
            row["platform"], "Linux" * row["platform"].endswith("linux_x86_64")
        )
        if "manylinux" in row["platform"] and row["platform"].endswith("x86_64"):
            system = "Linux"
        label = label_of(row)
        if row["package"] == "flash_attn" and system and label and row["abi"] == row["python"]:
            found[system, label[1], row["python"]].append((label[0], row["version"], label[2]))
    return found


INDEX = index()


def flash_attn(cell: Cell, newest: tuple[int, ...] = (99,)) -> set[str]:
    """The CUDA digits of the wheels that fit, the exact ones alone if there are any."""
    minor, system = cell.torch.rpartition(".")[0], SYSTEMS[cell.platform]
    cuda = cell.tag[2:]
    fitting = set()
    for built, version, abi in INDEX[system, minor, "cp" + cell.python.replace(".", "")]:
        if built[:2] != cuda[:2] or not has_code(built, version, cell.capability) or parts(version) > newest:
            continue
        new = {"true": True, "false": False, "": None if len(built) == 2 else built == "126"}[abi]
        if minor == "2.6" and system == "Linux" and new not in (None, cuda == "126"):
            continue
        if minor != "2.6" and system == "Linux" and abi == "false":
            continue
        fitting.add(built)
    return {cuda} if cuda in fitting else fitting


def xformers(cell: Cell, beside_flash_attn: bool) -> bool:
    minor, system = cell.torch.rpartition(".")[0], SYSTEMS[cell.platform]
    release, windows, linux = XFORMERS[minor]
    oldest, newest = ONE_PYTHON_EACH.get(release, (9, 99))
    python = int(cell.python.partition(".")[2])
    no_kernels = minor in FLASH3_FAULT or (minor != "2.15" and not beside_flash_attn)
    if system == "Windows" and cell.capability == (12, 0) and no_kernels:
        return False
    if oldest <= python <= newest and cell.tag[2:] in (windows if system == "Windows" else linux).split():
        return True
    third_party = [
        label_of(row)
        for row in PUBLISHED
        if row["package"] == "xformers" and row["platform"] == cell.platform
    ]
    return any(label and label[:2] == (cell.tag[2:], minor) for label in third_party)


def triton(cell: Cell) -> bool:
    if SYSTEMS[cell.platform] == "Linux":
        return True  # torch depends on it
    wanted = TRITON.get(cell.torch.rpartition(".")[0])
    if (
        wanted is None
        or (cell.capability < (8, 0) and wanted != "3.2")
        or (cell.capability >= (10, 0) and wanted == "3.2")
    ):
        return False
    python = "cp" + cell.python.replace(".", "")
    return any(
        row["package"] == "triton_windows"
        and row["version"].startswith(wanted + ".")
        and row["python"] == row["abi"] == python
        for row in PUBLISHED
    )


def torch_runs(cell: Cell) -> bool:
    """PyTorch's support matrices: cu12.6 and older have no code for Blackwell."""
    return cell.capability < (10, 0) or number(cell.tag[2:]) >= (12, 8)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return matrix()


def test_every_cell_is_asked(answers: Answers) -> None:
    expected = {
        (minor, f"cu{tag}", python, capability, platform)
        for minor, systems in BUILDS.items()
        for platform, system in SYSTEMS.items()
        for tag in systems[system].split()
        for python in PYTHONS
        if PYTHONS_OF_TORCH[minor][0] <= int(python[2:]) <= PYTHONS_OF_TORCH[minor][1]
        for capability in CAPABILITIES
    }
    assert {(cell.torch.rpartition(".")[0], *cell[1:]) for cell in answers} == expected
    assert len(expected) > 1300


def test_every_answer_is_that_of_the_second_reading(answers: Answers) -> None:
    differences = []
    for cell, found in answers.items():
        if isinstance(found, str):
            if torch_runs(cell):
                differences.append(f"{cell}: torch: {found}")
            continue
        if not torch_runs(cell):
            differences.append(f"{cell}: torch has no code for this GPU")
        first, second, third = found
        fitting = flash_attn(cell)
        if second.item and (newest := NEWEST_FLASH_ATTN.get(second.item.version)):
            fitting = flash_attn(cell, newest) or fitting
        chosen = first.item.wheel.cuda.replace(".", "") if first.item and first.item.wheel else ""
        if chosen not in (fitting or {""}):
            differences.append(f"{cell}: flash-attn {chosen}, second reading {fitting}")
        for name, choice, fits in (
            ("xformers", second, xformers(cell, bool(fitting))),
            ("triton", third, triton(cell)),
        ):
            if bool(choice.item or choice.kept) != fits:
                differences.append(f"{cell}: {name} {choice.reasons}, second reading {fits}")
    assert not differences, "\n".join(differences)


def test_no_package_of_a_plan_refuses_another(answers: Answers) -> None:
    pairs = set()
    for found in answers.values():
        if not isinstance(found, str) and found[0].item and found[1].item:
            pairs.add((found[1].item.version, found[0].item.version))
    accepted = {
        "0.0.31.post1": (2, 8, 0),
        "0.0.32.post2": (2, 8, 2),
        "0.0.33.post2": (2, 8, 4),
        "0.0.35": (2, 8, 4),
    }
    for release, version in pairs:
        if release in accepted:
            assert (2, 7, 1) <= parts(version) <= accepted[release], (release, version)
    assert {release for release, _ in pairs} > {"0.0.29.post3", *accepted.keys()} - {"0.0.35"}


def test_everything_that_does_not_fit_has_a_reason_and_a_date(answers: Answers) -> None:
    reasons = [
        choice.reasons
        for found in answers.values()
        if not isinstance(found, str)
        for choice in found
        if not choice.item and not choice.kept
    ]
    assert len(reasons) > 300
    for each in reasons:
        assert len(each) > 1 and each[0], each
        assert re.search(r"\b2026-\d\d-\d\d\b", " ".join(each[1:])), each


def test_the_page_is_up_to_date(answers: Answers) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(answers), "run python scripts/regenerate.py"
