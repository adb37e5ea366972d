"""Does LD_LIBRARY_PATH put older libraries before those of torch and of the system?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.requires import TORCH_INSTALLED, present
from doctor.checks.shared import value_of
from doctor.host import Distribution, Reading
from doctor.models import Evidence, Finding
from doctor.probes.library_path import LIBRARY_PATH, STANDARD_LIBRARY, Library, LibraryPathFacts
from doctor.probes.site_packages import INSTALLED, Installed
from wheels.compatibility import parse_version

LINK = "https://github.com/pytorch/pytorch/issues/134929"
CERTAIN = "libnvJitLink"  # NVIDIA's libraries find it through the variable, so an older one certainly fails
# NVIDIA's packages, which torch's wheels for Linux need: nvidia-nvjitlink-cu12, nvidia-nvjitlink
PACKAGES = {
    "libcudnn": "nvidia-cudnn",
    "libnccl": "nvidia-nccl",
    "libnvJitLink": "nvidia-nvjitlink",
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcusparse": "nvidia-cusparse",
    "libcusolver": "nvidia-cusolver",
    "libcufft": "nvidia-cufft",
}


def judge(facts: LibraryPathFacts, installed: Reading[Installed]) -> Finding:
    needed = _needed(value_of(installed).distributions)
    older = [
        (library, needed[PACKAGES[library.name]])
        for library in facts.libraries
        if library.name in PACKAGES and _is_older(library, needed.get(PACKAGES[library.name]))
    ]
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="LD_LIBRARY_PATH puts no older library before torch's"
        if facts.value
        else "LD_LIBRARY_PATH is not set",
        measured=f"LD_LIBRARY_PATH is {facts.value}" if facts.value else "LD_LIBRARY_PATH is not set",
        expected="no older libraries of CUDA or C++ in its folders",
        evidence=(
            Evidence(source="environment", name="LD_LIBRARY_PATH", value=facts.value),
            *(
                Evidence(source="file", name=f"{each.name} in {each.folder}", value=_dotted(each.version))
                for each in facts.libraries
            ),
        ),
    )
    # Only info: torch's own libraries name the folders of their packages, which are searched before the variable
    problem = finding.but(status="info", impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    if older:
        library, wanted = next((each for each in older if each[0].name == CERTAIN), older[0])
        return problem.but(
            status="warning" if library.name == CERTAIN else "info",
            summary=f"LD_LIBRARY_PATH puts {library.name} {_dotted(library.version)} ({library.folder}) before torch's {_dotted(wanted)}",
        )
    mine = next((each for each in facts.libraries if each.name == STANDARD_LIBRARY), None)
    if mine and facts.system and mine.version < facts.system.version:
        return problem.but(
            summary=f"LD_LIBRARY_PATH puts libstdc++ {_dotted(mine.version)} ({mine.folder}) before the system's {_dotted(facts.system.version)}"
        )
    return finding


def _needed(packages: dict[str, Distribution]) -> dict[str, tuple[int, ...]]:
    """Return the versions of NVIDIA's packages, without the CUDA in their names."""
    versions = {re.sub(r"-cu\d+$", "", name): parse_version(each.version) for name, each in packages.items()}
    return {name: version.release for name, version in versions.items() if version}


def _is_older(library: Library, needed: tuple[int, ...] | None) -> bool:
    """Whether the file would be loaded in place of the package's, and is older. Another major version has another name."""
    return needed is not None and library.version[0] == needed[0] and library.version[:2] < needed[:2]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


CHECK = Check(
    id="library-path",
    group="packages",
    looks_at="The folders in LD_LIBRARY_PATH: the versions of cuDNN, NCCL, nvJitLink, cuBLAS and others against those of the NVIDIA packages that torch needs, and libstdc++ against the system's.",
    why="Linux loads libraries from LD_LIBRARY_PATH first. Older ones fail with 'undefined symbol: __nvJitLinkComplete_12_4', 'undefined symbol: ncclCommWindowRegister' or 'version GLIBCXX_3.4.30 not found'.",
    by_hand="Run with LD_LIBRARY_PATH unset, and remove these folders from it: torch finds its own libraries without it.",
    probes=(LIBRARY_PATH, INSTALLED),
    judge=judge,
    systems=frozenset({"linux"}),
    because_of=(torch_check.CHECK,),
    requires=(TORCH_INSTALLED, present(INSTALLED, "the installed packages")),
)
