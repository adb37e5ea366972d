"""Is Microsoft's C++ runtime there, and the newest copy of it the one that Python loads?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.shared import could_not_look, torch_is, why_not
from doctor.checks.system import python_architecture
from doctor.host import Absent, Found, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import version_key
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.vc_runtime import OPENMP, RUNTIME, STANDARD_LIBRARY, VC_RUNTIME, VcRuntimeFacts
from doctor.probes.winget import WINGET
from wheels.source_build import vc_runtime_for_torch

DOWNLOAD = "https://aka.ms/vc14/vc_redist.x64.exe"
LINK = "https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist"
PACKAGE = "Microsoft.VCRedist.2015+.x64"


def judge(runtime: VcRuntimeFacts, torch: TorchFacts, winget: Reading[str]) -> Finding:
    libraries = {**runtime.system, **runtime.copies}
    for name, reading in libraries.items():
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, name, reading.reason)
    if not isinstance(runtime.openmp, Found):
        return could_not_look(CHECK.id, OPENMP, why_not(runtime.openmp))
    versions = {
        name: reading.value.version for name, reading in libraries.items() if isinstance(reading, Found)
    }
    this = torch_is(torch)
    wanted = vc_runtime_for_torch(this.version) if this else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Microsoft's C++ runtime {versions.get(STANDARD_LIBRARY) or 'of an unknown version'}",
        measured=", ".join(
            f"{name} {version or 'of an unknown version'}" for name, version in versions.items()
        )
        or "none of it",
        expected=f"{', '.join(RUNTIME)}{f', from {wanted} on' if wanted else ''}",
        evidence=tuple(Evidence(source="file", name=name, value=versions.get(name)) for name in libraries),
    )
    trouble = finding.but(impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    installing = build_tool_fixes.by_winget(
        "install-vc-redist", "the Visual C++ Redistributable", winget, PACKAGE, link=DOWNLOAD
    )
    missing = [name for name in RUNTIME if isinstance(runtime.system[name], Absent)]
    if missing:
        summary = f"Microsoft's C++ runtime is missing: {', '.join(missing)}"
        return trouble.but(status="error", summary=summary, fix=installing)
    for path in runtime.copies:
        if _is_older(versions.get(path), wanted):
            return trouble.but(
                status="warning",
                summary=f"Python loads its own msvcp140.dll {versions[path]}, older than {this or 'torch'} needs",
                hint=f"Rename {path}, so that Windows' newer one is loaded; with conda update vc14_runtime instead.",
                fix=Fix(
                    id="rename-msvcp140",
                    applicability="manual",
                    commands=(f'ren "{path}" msvcp140.dll.old',),
                ),
            )
    shadowed = any(path in versions for path in runtime.copies)
    if not shadowed and _is_older(versions.get(STANDARD_LIBRARY), wanted):
        summary = (
            f"Microsoft's C++ runtime {versions[STANDARD_LIBRARY]} is older than {this or 'torch'} needs"
        )
        return trouble.but(status="warning", summary=summary, fix=installing)
    if not runtime.openmp.value:
        return trouble.but(
            status="error",
            summary=f"{this or 'torch'} cannot load: its fbgemm.dll needs {OPENMP}, which is nowhere",
            hint="Install torch 2.5 or newer; the Visual Studio Build Tools bring the file, too.",
        )
    return finding


def _is_older(version: str | None, wanted: str | None) -> bool:
    return bool(version and wanted) and version_key(str(version)) < version_key(str(wanted))


CHECK = Check(
    id="vc-redist",
    group="build-tools",
    looks_at="vcruntime140.dll, vcruntime140_1.dll and msvcp140.dll in System32, and copies of msvcp140.dll beside python.exe and in conda's Library\\bin: their versions, nothing is loaded.",
    why="torch, Triton and flash-attn are made of DLLs that need this runtime: with a missing or older one, importing them ends in WinError 126 or 1114.",
    by_hand="Install the newest Microsoft Visual C++ Redistributable for x64; rename an older msvcp140.dll beside python.exe.",
    probes=(VC_RUNTIME, TORCH, WINGET),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(python_architecture.CHECK,),
)
