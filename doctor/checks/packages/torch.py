"""Is PyTorch installed, whole, and new enough?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import broken_distributions
from doctor.checks.shared import PYTORCH, could_not_look, for_this_python, torch_is
from doctor.checks.system import python_architecture, python_version
from doctor.checks.wheel_advice import Advice, advice
from doctor.host import Absent, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.packages import OLDEST_TORCH


def judge(torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue) -> Finding:
    this = torch_is(torch)
    hint, fix = _way_to_torch(identity, advice("torch", identity, nvidia, this, wheels))
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
    if isinstance(torch.distribution, Absent):
        update = {"summary": "PyTorch is not installed", "measured": "no torch in this Python"}
        return trouble.model_copy(update=update)
    if isinstance(torch.distribution, Unreadable):
        return could_not_look(CHECK.id, "the installed packages", torch.distribution.reason)
    location = torch.distribution.value.location
    if isinstance(torch.build, Unreadable):
        return could_not_look(CHECK.id, f"torch in {location}", torch.build.reason, CHECK.by_hand)
    if isinstance(torch.build, Absent):
        update = {
            "summary": "PyTorch is only half installed: torch/version.py is missing",
            "measured": f"torch {torch.distribution.value.version} without its files in {location}",
        }
        return trouble.model_copy(update=update)
    text = str(torch.build.value.version)
    evidence = (Evidence(source="file", name="torch/version.py: __version__", value=text),)
    if torch.build.value.version < OLDEST_TORCH:
        summary = f"torch {text} is too old for aios"
        return trouble.model_copy(update={"summary": summary, "measured": text, "evidence": evidence})
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=str(torch.build.value),
        measured=text,
        expected=trouble.expected,
        evidence=evidence,
    )


def _way_to_torch(identity: Identity, advised: Advice | None) -> tuple[str, Fix | None]:
    """What to do, with its commands; none where no build runs on this GPU: pip would bring one for the processor."""
    if advised and not advised.fix:
        return advised.hint, None
    chosen = advised.fix if advised else None
    others = ("transformers", "safetensors") if chosen else ("torch", "transformers", "safetensors")
    rest = for_this_python(identity, "pip", f"install --upgrade {' '.join(others)}")
    commands = (*(chosen.commands if chosen else ()), rest)
    by_hand = (*chosen.by_hand, rest) if chosen else ()
    hint = advised.hint if advised else "Install the build that fits this machine"
    fix = Fix(id="install-torch", applicability="manual", commands=commands, by_hand=by_hand)
    return f"{hint}: {'; then '.join(commands)}", fix


CHECK = Check(
    id="torch",
    group="packages",
    looks_at="The torch package of this Python: its metadata, and torch/version.py read as text. Nothing is imported.",
    why="Training runs on PyTorch; without it the doctor can look at the machine only.",
    by_hand='Install it: python -m pip install --upgrade torch transformers safetensors. On Windows with an NVIDIA GPU take the CUDA build from PyTorch\'s own index instead ("Get started" on pytorch.org gives the line).',
    probes=(TORCH, NVIDIA, IDENTITY, WHEELS),
    judge=judge,
    because_of=(python_architecture.CHECK, python_version.CHECK, broken_distributions.CHECK),
)
