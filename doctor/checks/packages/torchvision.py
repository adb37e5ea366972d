"""Do torchvision and torchaudio, if installed, match this torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from doctor.check import Check, Requirement
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import TORCH_INSTALLED, known_torch
from doctor.checks.shared import PYTORCH, could_not_look, for_this_python, skipped, value_of
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.companions import COMPANIONS, Companion
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.companions import companion_requirement
from wheels.compatibility import cuda_of_tag, cuda_tag, parse_version
from wheels.machine import TorchBuild


def judge(companions: dict[str, Companion], torch: TorchFacts, identity: Identity) -> Finding:
    build = value_of(torch.build)
    versions = {name: _version(each) for name, each in companions.items() if _is_installed(each)}
    wanted = {name: companion_requirement(name, build.version) for name in versions}
    listed = " and ".join(f"{name} {version}" for name, version in versions.items())
    specifiers = ", ".join(f"{name}{specifier}" for name, specifier in wanted.items() if specifier)
    platform = f"CUDA {build.cuda_major}" if build.cuda_major else "the CPU"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{listed} {'fits' if len(versions) == 1 else 'fit'} {build}",
        measured=f"{listed} with {build}",
        expected=f"{specifiers or 'the release made for this torch'}, built for {platform}",
        evidence=tuple(
            Evidence(source="file", name=f"{name}/version.py: __version__", value=version)
            for name, version in versions.items()
        ),
    )
    for name, version in versions.items():
        if fault := _fault(name, version, wanted[name], build):
            status, summary = fault
            return finding.but(
                status=status,
                summary=summary,
                impact=CHECK.why,
                hint=CHECK.by_hand,
                links=(PYTORCH,),
                fix=_reinstall(wanted, build, identity),
            )
    if None in wanted.values():
        summary = f"{listed}: aios does not know which version {build} needs"
        return finding.but(status="info", summary=summary, links=(PYTORCH,))
    return finding


def _is_installed(companion: Companion) -> bool:
    return not isinstance(companion.distribution, Absent)


def _version(companion: Companion) -> str:
    """The version in version.py, which includes the CUDA tag; without that file the metadata's."""
    if isinstance(companion.build, Found):
        return companion.build.value
    return value_of(companion.distribution).version


def _fault(name: str, text: str, wanted: str | None, build: TorchBuild) -> tuple[Status, str] | None:
    """The status and the summary of a package that does not match torch.

    An error if importing it fails, except for torchaudio, which no other package imports.
    """
    version = parse_version(text)
    if version is None:
        return None
    error: Status = "error" if name == "torchvision" else "warning"
    if wanted is not None and version.base_version not in SpecifierSet(wanted):
        return error, f"{name} {text} was built for another torch than {build}"
    tag = cuda_tag(version)
    if version.local == "cpu" and build.cuda_tag is not None:
        return "warning", f"{name} {text} is a CPU build; torch has CUDA {build.cuda_major}"
    if tag is None:
        return None
    if build.cuda_major is None:
        return error, f"{name} {text} needs a CUDA build of torch; installed: {build}"
    major = cuda_of_tag(tag)[0]
    if major != build.cuda_major:
        return error, f"{name} {text} was built for CUDA {major}; torch has CUDA {build.cuda_major}"
    return None


def _reinstall(wanted: dict[str, str | None], build: TorchBuild, identity: Identity) -> Fix:
    packages = " ".join(
        f'--reinstall-package {name} "{name}{specifier or ""}"' for name, specifier in wanted.items()
    )
    arguments = f'"torch=={build.release}" {packages} --torch-backend={build.cuda_tag or "cpu"}'
    commands = (
        for_this_python(identity, "pip", "install uv"),
        for_this_python(identity, "uv pip install", arguments),
    )
    return Fix(id="install-torchvision", applicability="manual", commands=commands)


def _not_installed(check: str, companions: dict[str, Companion]) -> Finding | None:
    if any(map(_is_installed, companions.values())):
        return None
    return skipped(check, "neither torchvision nor torchaudio is installed")


def _unreadable(check: str, companions: dict[str, Companion]) -> Finding | None:
    for name, companion in companions.items():
        readings = {f"the package {name}": companion.distribution, f"{name}/version.py": companion.build}
        for what, reading in readings.items():
            if isinstance(reading, Unreadable):
                return could_not_look(check, what, reading.reason)
    return None


CHECK = Check(
    id="torchvision",
    group="packages",
    looks_at="torchvision/version.py and torchaudio/version.py as text, against torch's release and CUDA version. Nothing is imported.",
    why="A torchvision for another torch fails with 'operator torchvision::nms does not exist', and so does transformers, which imports it. A CPU build has no CUDA operators.",
    by_hand="Install torch and torchvision (and torchaudio) in one command, from the same PyTorch index. Or uninstall them: training needs neither.",
    probes=(COMPANIONS, TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        TORCH_INSTALLED,
        Requirement((COMPANIONS,), _not_installed),
        known_torch("which torchvision torch needs"),
        Requirement((COMPANIONS,), _unreadable),
    ),
)
