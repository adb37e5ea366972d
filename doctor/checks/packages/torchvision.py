"""Do torchvision and torchaudio, where they are installed, belong to this torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    PYTORCH,
    cannot_tell,
    could_not_look,
    for_this_python,
    skipped,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.companions import COMPANIONS, Companion
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.companions import companion_requirement
from wheels.compatibility import cuda_of_tag, cuda_tag, parse_version
from wheels.machine import TorchBuild


def judge(companions: dict[str, Companion], torch: TorchFacts, identity: Identity) -> Finding:
    if without := skipped_without_torch(CHECK.id, torch):
        return without
    installed = {name: each for name, each in companions.items() if not isinstance(each.distribution, Absent)}
    if not installed:
        return skipped(CHECK.id, "neither torchvision nor torchaudio is installed")
    this = torch_is(torch)
    if this is None:
        return cannot_tell(CHECK.id, "what belongs to torch", why_torch_is_unknown(torch))
    builds = {}
    for name, each in installed.items():
        if isinstance(each.distribution, Unreadable):
            return could_not_look(CHECK.id, f"the package {name}", each.distribution.reason)
        if isinstance(each.build, Unreadable):
            return could_not_look(CHECK.id, f"{name}/version.py", each.build.reason)
        builds[name] = _build(each)
    wanted = {name: companion_requirement(name, this.version) for name in builds}
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{_listed(builds)} {'fits' if len(builds) == 1 else 'fit'} {this}",
        measured=f"{_listed(builds)} with {this}",
        expected=", ".join(f"{name}{need}" for name, need in wanted.items() if need)
        + f", built for {_place(this)}",
        links=(PYTORCH,),
        evidence=tuple(
            Evidence(source="file", name=f"{name}/version.py: __version__", value=build)
            for name, build in builds.items()
        ),
    )
    for name, build in builds.items():
        if trouble := _trouble(name, build, wanted[name], this):
            status, summary = trouble
            return finding.model_copy(
                update={
                    "status": status
                    if name == "torchvision"
                    else "warning",  # nothing imports torchaudio unasked
                    "summary": summary,
                    "impact": CHECK.why,
                    "hint": CHECK.by_hand,
                    "fix": _fix(wanted, this, identity),
                }
            )
    if None in wanted.values():
        summary = f"{_listed(builds)}: nobody here knows which one {this} needs"
        return finding.model_copy(update={"status": "info", "summary": summary})
    return finding.model_copy(update={"links": ()})


def _build(companion: Companion) -> str:
    """What the package calls itself; its metadata's version where it has no such file."""
    assert isinstance(companion.distribution, Found)
    return (
        companion.build.value if isinstance(companion.build, Found) else companion.distribution.value.version
    )


def _listed(builds: dict[str, str]) -> str:
    return " and ".join(f"{name} {build}" for name, build in builds.items())


def _place(this: TorchBuild) -> str:
    return f"CUDA {this.cuda_major}" if this.cuda_major else "the CPU"


def _trouble(name: str, build: str, wanted: str | None, this: TorchBuild) -> tuple[Status, str] | None:
    """Why it does not belong to this torch: an error where it cannot even be imported."""
    version = parse_version(build)
    if version is None:
        return None
    if wanted is not None and version.base_version not in SpecifierSet(wanted):
        return "error", f"{name} {build} was made for another torch than {this}"
    tag = cuda_tag(version)
    if version.local == "cpu" and this.cuda_tag is not None:
        return "warning", f"{name} {build} is a build for the CPU; torch has CUDA {this.cuda_major}"
    if tag is not None and this.cuda_major is None:
        return "error", f"{name} {build} needs a CUDA build of torch; this is {this}"
    if tag is not None and cuda_of_tag(tag)[0] != this.cuda_major:
        return (
            "error",
            f"{name} {build} was built for CUDA {cuda_of_tag(tag)[0]}; torch has CUDA {this.cuda_major}",
        )
    return None


def _fix(wanted: dict[str, str | None], this: TorchBuild, identity: Identity) -> Fix:
    packages = " ".join(f'--reinstall-package {name} "{name}{need or ""}"' for name, need in wanted.items())
    arguments = f'"torch=={this.release}" {packages} --torch-backend={this.cuda_tag or "cpu"}'
    commands = (
        for_this_python(identity, "pip", "install uv"),
        for_this_python(identity, "uv pip install", arguments),
    )
    return Fix(id="install-torchvision", applicability="manual", commands=commands)


CHECK = Check(
    id="torchvision",
    group="packages",
    looks_at="torchvision/version.py and torchaudio/version.py as text, against torch's release and CUDA version. Nothing is imported.",
    why="A torchvision for another torch fails with 'operator torchvision::nms does not exist', and takes transformers with it; one for the CPU has no CUDA operators.",
    by_hand="Install torch and torchvision (and torchaudio) in one command, from the same of PyTorch's indexes; or uninstall them, training needs neither.",
    probes=(COMPANIONS, TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
)
