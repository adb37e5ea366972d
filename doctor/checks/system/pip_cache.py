"""Does pip keep a wheel that was compiled against another torch?"""

from __future__ import annotations

from packaging.version import Version

from doctor.check import Check
from doctor.checks.shared import could_not_look, for_this_python, torch_is
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.pip_cache import PIP_CACHE, CachedWheel, PipCacheFacts
from doctor.probes.system import IDENTITY
from wheels.compatibility import minor, parse_flash_attn

CACHING = "https://pip.pypa.io/en/stable/topics/caching/"


def judge(cache: PipCacheFacts, torch: TorchFacts, identity: Identity) -> Finding:
    if isinstance(cache.wheels, Unreadable):
        return could_not_look(CHECK.id, cache.folder, cache.wheels.reason)
    kept = cache.wheels.value if isinstance(cache.wheels, Found) else ()
    mine = [wheel for wheel in kept if _serves(wheel, identity)]
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="pip keeps no wheel that was compiled against another torch",
        measured=", ".join(wheel.file for wheel in mine) or "no such wheel",
        expected="none, or one for this torch",
        evidence=(
            Evidence(source="file", name=cache.folder, value=[w.file for w in kept] if kept else None),
        ),
    )
    this = torch_is(torch)
    for wheel in mine:
        built_for = parse_flash_attn(str(wheel.version)).torch
        if built_for is None:
            status = "info"
            summary = (
                f"pip keeps {wheel.name} {wheel.version}, which does not say for which torch it was compiled"
            )
        elif this is not None and Version(built_for).release != Version(minor(this.version)).release:
            status = "warning"
            summary = f"pip keeps {wheel.name} for torch {built_for}, and torch {this.release} is installed"
        else:
            continue
        command = for_this_python(identity, "pip", f"cache remove {wheel.name.replace('-', '_')}")
        return ok.model_copy(
            update={
                "status": status,
                "summary": summary,
                "impact": CHECK.why,
                "hint": f"Before {wheel.name} is installed again: {command}",
                "links": (CACHING,),
                "fix": Fix(
                    id=f"forget-{wheel.name}", applicability="manual", reversible=False, commands=(command,)
                ),
            }
        )
    return ok


def _serves(wheel: CachedWheel, identity: Identity) -> bool:
    """Would pip take it for this Python?"""
    this = f"cp{identity.python_minor.replace('.', '')}"
    return not {this, "abi3", "py3"}.isdisjoint(wheel.pythons)


CHECK = Check(
    id="pip-cache",
    group="system",
    looks_at="The wheels of flash-attn and xformers that pip compiled here once and keeps in its cache.",
    why="pip finds a kept wheel by name and version alone: after another torch is installed it takes the old one again, and importing it ends in 'DLL load failed' or 'undefined symbol'.",
    by_hand="python -m pip cache remove flash_attn - and the same for xformers.",
    probes=(PIP_CACHE, TORCH, IDENTITY),
    judge=judge,
)
