"""Is PyTorch installed, complete, and new enough?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import broken_distributions
from doctor.checks.requires import readable
from doctor.checks.shared import PYTORCH, could_not_look, for_this_python, torch_is
from doctor.checks.system import python_architecture, python_version
from doctor.checks.wheel_advice import Advice, advice
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import IS_POINTER, TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.packages import OLDEST_TORCH


def judge(torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue) -> Finding:
    hint, fix = _installation(identity, advice("torch", identity, nvidia, torch_is(torch), wheels))
    trouble = Finding(
        check=CHECK.id,
        status="error",
        summary="",
        expected=f"torch {OLDEST_TORCH} or newer",
        impact=CHECK.why,
        hint=hint,
        links=(PYTORCH,),
        fix=fix,
    )
    if not isinstance(torch.distribution, Found):
        return trouble.but(summary="PyTorch is not installed", measured="no torch in this Python")
    installed = torch.distribution.value
    if torch.build == Unreadable(IS_POINTER):
        return trouble.but(
            summary=f"PyTorch is only half installed: {IS_POINTER}, not the file itself",
            measured=f"a Git LFS pointer in {installed.location}",
            hint="This environment came through Git without its large files. Create it on this machine instead, and reinstall its packages.",
            fix=None,
        )
    if isinstance(torch.build, Unreadable):
        return could_not_look(CHECK.id, f"torch in {installed.location}", torch.build.reason, CHECK.by_hand)
    if isinstance(torch.build, Absent):
        return trouble.but(
            summary="PyTorch is incomplete: torch/version.py is missing",
            measured=f"torch {installed.version} without its files in {installed.location}",
        )
    version = torch.build.value.version
    evidence = (Evidence(source="file", name="torch/version.py: __version__", value=str(version)),)
    trouble = trouble.but(measured=str(version), evidence=evidence)
    if version < OLDEST_TORCH:
        return _too_old(trouble, str(version), identity)
    summary = str(torch.build.value)
    if version.is_devrelease:
        summary += ", a nightly build: packages built for the release may not load"
    return trouble.but(status="ok", summary=summary, impact="", hint="", links=(), fix=None)


def _too_old(trouble: Finding, version: str, identity: Identity) -> Finding:
    if identity.other_python:
        summary = f"torch {version} is too old for aios to test attention or install packages with it"
        return trouble.but(status="warning", summary=summary)
    return trouble.but(summary=f"torch {version} is too old for aios")


def _installation(identity: Identity, advised: Advice | None) -> tuple[str, Fix | None]:
    """The hint and the fix. No fix if no CUDA build runs on this GPU: pip would install a CPU build."""
    if advised and not advised.fix:
        return advised.hint, None
    chosen = advised.fix if advised else None
    beside = () if identity.other_python else ("transformers", "safetensors")  # for the trainer of aios
    others = beside if chosen else ("torch", *beside)
    rest = (for_this_python(identity, "pip", f"install --upgrade {' '.join(others)}"),) if others else ()
    commands = (*(chosen.commands if chosen else ()), *rest)
    by_hand = (*chosen.by_hand, *rest) if chosen else ()
    hint = advised.hint if advised else "Install the build that fits this machine"
    fix = Fix(id="install-torch", applicability="manual", commands=commands, by_hand=by_hand)
    return f"{hint}: {'; then '.join(commands)}", fix


CHECK = Check(
    id="torch",
    group="packages",
    looks_at="The torch package of this Python: its metadata, and torch/version.py read as text. Nothing is imported.",
    why="Training needs PyTorch. Without it the doctor can check only the machine.",
    by_hand='Install it: `python -m pip install --upgrade torch transformers safetensors`. On Windows with an NVIDIA GPU use the CUDA build from PyTorch\'s own index instead (see "Get started" on pytorch.org).',
    probes=(TORCH, NVIDIA, IDENTITY, WHEELS),
    judge=judge,
    because_of=(python_architecture.CHECK, python_version.CHECK, broken_distributions.CHECK),
    requires=(readable(TORCH, "the installed packages", lambda torch: torch.distribution),),
)
