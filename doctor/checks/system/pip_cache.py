"""Does pip's cache contain a wheel that was compiled against another torch?"""

from __future__ import annotations

from packaging.version import Version

from doctor.check import Check, Requirement
from doctor.checks.shared import could_not_look, for_this_python, torch_is
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.pip_cache import PIP_CACHE, CachedWheel, PipCacheFacts
from doctor.probes.system import IDENTITY
from doctor.quoting import in_text
from wheels.flash_attn_builds import parse_flash_attn

CACHING = "https://pip.pypa.io/en/stable/topics/caching/"


def judge(cache: PipCacheFacts, torch: TorchFacts, identity: Identity) -> Finding:
    cached = cache.wheels.value if isinstance(cache.wheels, Found) else ()
    usable = [wheel for wheel in cached if _supports(wheel, identity)]
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="pip's cache contains no wheel that was compiled against another torch",
        measured=", ".join(wheel.file for wheel in usable) or "no such wheel",
        expected="none, or one for the installed torch",
        evidence=(
            Evidence(source="file", name=cache.folder, value=[w.file for w in cached] if cached else None),
        ),
    )
    this = torch_is(torch)
    for wheel in usable:
        built_for = parse_flash_attn(str(wheel.version)).torch
        if built_for is None:
            summary = f"pip's cache contains {wheel.name} {wheel.version}, compiled for an unknown torch"
            return _problem(ok, "info", summary, wheel, identity)
        if this is not None and Version(built_for).release != Version(this.minor).release:
            summary = f"pip's cache contains {wheel.name} for torch {built_for}, but torch {this.release} is installed"
            return _problem(ok, "warning", summary, wheel, identity)
    return ok


def _problem(ok: Finding, status: Status, summary: str, wheel: CachedWheel, identity: Identity) -> Finding:
    command = for_this_python(identity, "pip", f"cache remove {wheel.name.replace('-', '_')}")
    return ok.but(
        status=status,
        summary=summary,
        impact=CHECK.why,
        hint=f"Before reinstalling {wheel.name}, run: {in_text(command)}",
        links=(CACHING,),
        fix=Fix(id=f"forget-{wheel.name}", applicability="manual", reversible=False, commands=(command,)),
    )


def _unreadable_cache(check: str, cache: PipCacheFacts) -> Finding | None:
    reason = cache.wheels.reason if isinstance(cache.wheels, Unreadable) else None
    return could_not_look(check, cache.folder, reason) if reason else None


def _supports(wheel: CachedWheel, identity: Identity) -> bool:
    """Whether pip would use the wheel for this Python."""
    this = f"cp{identity.python_minor.replace('.', '')}"
    return not {this, "abi3", "py3"}.isdisjoint(wheel.pythons)


CHECK = Check(
    id="pip-cache",
    group="system",
    looks_at="The wheels of flash-attn and xformers that pip compiled on this machine and cached.",
    why="pip looks up a cached wheel by name and version only. After torch changes it installs the old wheel again, and importing that fails with 'DLL load failed' or 'undefined symbol'.",
    by_hand="Run `python -m pip cache remove flash_attn`, and the same for xformers.",
    probes=(PIP_CACHE, TORCH, IDENTITY),
    judge=judge,
    requires=(Requirement((PIP_CACHE,), _unreadable_cache),),
)
