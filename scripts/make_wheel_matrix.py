"""Write docs/wheel-matrix.md: which flash-attn, xformers and Triton fit each torch, Python, GPU and system.

`python scripts/regenerate.py` runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from packaging.version import Version  # noqa: E402

from wheels.catalogue import shipped_catalogue  # noqa: E402
from wheels.choice import Choice  # noqa: E402
from wheels.compatibility import (  # noqa: E402
    ComputeCapability,
    cuda_of_tag,
    minor,
    torch_cuda_tags,
    torch_pythons,
    torch_releases,
)
from wheels.machine import Machine, TorchBuild  # noqa: E402
from wheels.resolve import resolve  # noqa: E402
from wheels.torch import why_unfit  # noqa: E402

PAGE = ROOT / "docs" / "wheel-matrix.md"
MINORS = tuple(f"2.{number}" for number in range(6, 16))
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
CAPABILITIES: tuple[ComputeCapability, ...] = ((7, 5), (8, 6), (8, 9), (9, 0), (12, 0))
PLATFORMS = ("win_amd64", "linux_x86_64")
PACKAGES = ("flash-attn", "xformers", "triton")
UNKNOWN_TAGS = ("cu130", "cu132")  # assumed for a release whose Windows builds are not known
HEAD = """<!-- Written by scripts/regenerate.py: change wheels/compatibility.json or the catalogue, not this page. -->

# Which packages fit which torch

From the catalogue of {as_of}. A cell lists the CUDA builds of torch that the package fits; `not 3.13` means that there is no package for
that Python. flash-attn and xformers are chosen as a pair; on Linux torch installs its own Triton. The CUDA builds of torch 2.15 for
Windows are not known; the table assumes cu130 and cu132. `aios wheels match` answers for any machine, and says why a package does not
fit.

| torch | system | compute capability | flash-attn | xformers | Triton |
|---|---|---|---|---|---|
"""


class Cell(NamedTuple):
    """A build of torch on a machine."""

    torch: str  # release
    tag: str
    python: str
    capability: ComputeCapability
    platform: str


def cells() -> Iterable[Cell]:
    """Yield the cells whose torch has a build for the Python and may have one for the GPU."""
    newest: dict[str, str] = {}
    for known in torch_releases():
        newest.setdefault(minor(Version(known)), known)
    for number in MINORS:
        release = Version(newest[number])
        for platform in PLATFORMS:
            system = "windows" if platform.startswith("win") else "linux"
            for tag in torch_cuda_tags(release, system) or UNKNOWN_TAGS:
                for python in PYTHONS:
                    if python in (torch_pythons(release) or ()):
                        for capability in CAPABILITIES:
                            yield Cell(str(release), tag, python, capability, platform)


def answer(cell: Cell) -> tuple[Choice, ...] | str:
    """Return the choices of PACKAGES; a string: why this torch does not run on this GPU."""
    build = TorchBuild(Version(f"{cell.torch}+{cell.tag}"), cell.tag)
    machine = Machine(
        cell.python, cell.platform, torch=build, compute_capabilities=(cell.capability,), glibc=None
    )
    if unfit := why_unfit(build, machine):
        return unfit
    return resolve(machine, shipped_catalogue(), PACKAGES).choices


def matrix() -> dict[Cell, tuple[Choice, ...] | str]:
    return {cell: answer(cell) for cell in cells()}


def page(answers: Mapping[Cell, tuple[Choice, ...] | str]) -> str:
    lines = []
    for (torch, platform), group in groupby(answers, key=lambda cell: (cell.torch, cell.platform)):
        rows: dict[tuple[str, ...], list[str]] = {}
        chosen = list(group)
        for capability in CAPABILITIES:
            here = [cell for cell in chosen if cell.capability == capability]
            columns = tuple(_column(here, answers, index) for index in range(len(PACKAGES)))
            rows.setdefault(columns, []).append("{}.{}".format(*capability))
        system = "Windows" if platform.startswith("win") else "Linux"
        lines += [
            f"| {minor(Version(torch))} | {system} | {', '.join(gpus)} | {' | '.join(columns)} |"
            for columns, gpus in rows.items()
        ]
    return HEAD.format(as_of=shipped_catalogue().as_of) + "\n".join(lines) + "\n"


def _column(cells: Iterable[Cell], answers: Mapping[Cell, tuple[Choice, ...] | str], index: int) -> str:
    """Return "cu126, cu128 (not 3.14)"; "-": nothing fits."""
    pythons: dict[str, list[str]] = {}
    every: dict[str, list[str]] = {}
    for cell in cells:
        found = answers[cell]
        every.setdefault(cell.tag, []).append(cell.python)
        if not isinstance(found, str) and (found[index].item or found[index].kept):
            pythons.setdefault(cell.tag, []).append(cell.python)
    parts = []
    for tag in sorted(pythons, key=cuda_of_tag):
        missing = [python for python in every[tag] if python not in pythons[tag]]
        parts.append(tag + (f" (not {', '.join(missing)})" if missing else ""))
    return ", ".join(parts) or "-"


def main() -> None:
    PAGE.write_text(page(matrix()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
