"""Is Microsoft's C++ runtime installed, and does Python load the newest copy?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.shared import could_not_look, torch_is, value_of
from doctor.checks.system import python_architecture
from doctor.host import Absent, Found, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import version_key
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.vc_runtime import OPENMP, RUNTIME, STANDARD_LIBRARY, VC_RUNTIME, VcRuntimeFacts
from doctor.probes.winget import WINGET
from doctor.quoting import quoted
from wheels.source_build import vc_runtime_for_torch

DOWNLOAD = "https://aka.ms/vc14/vc_redist.x64.exe"
LINK = "https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist"
PACKAGE = "Microsoft.VCRedist.2015+.x64"
UNKNOWN = "of an unknown version"


def judge(runtime: VcRuntimeFacts, torch: TorchFacts, winget: Reading[str]) -> Finding:
    libraries = {**runtime.system, **runtime.copies}
    versions = {name: dll.value.version for name, dll in libraries.items() if isinstance(dll, Found)}
    this = torch_is(torch)
    needed = vc_runtime_for_torch(this.version) if this else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Microsoft's C++ runtime {versions.get(STANDARD_LIBRARY) or UNKNOWN}",
        measured=", ".join(f"{name} {version or UNKNOWN}" for name, version in versions.items())
        or "not installed",
        expected=", ".join(RUNTIME) + (f", {needed} or newer" if needed else ""),
        evidence=tuple(Evidence(source="file", name=name, value=versions.get(name)) for name in libraries),
    )
    problem = finding.but(impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    install = build_tool_fixes.install_with_winget(
        "install-vc-redist", "the Visual C++ Redistributable", winget, PACKAGE, link=DOWNLOAD
    )
    subject = str(this or "torch")
    if missing := [name for name in RUNTIME if isinstance(runtime.system[name], Absent)]:
        summary = f"Microsoft's C++ runtime is missing: {', '.join(missing)}"
        return problem.but(status="error", summary=summary, fix=install)
    for path in runtime.copies:
        if (version := versions.get(path)) and _is_older(version, needed):
            return _old_copy(problem, path, version, subject)
    has_copy = any(path in versions for path in runtime.copies)
    if not has_copy and _is_older(versions.get(STANDARD_LIBRARY), needed):
        summary = f"Microsoft's C++ runtime {versions[STANDARD_LIBRARY]} is older than {subject} needs"
        return problem.but(status="warning", summary=summary, fix=install)
    if not value_of(runtime.openmp):
        summary = f"{subject} cannot load: its fbgemm.dll needs {OPENMP}, which was not found"
        hint = "Install torch 2.5 or newer. The Visual Studio Build Tools also install this file."
        return problem.but(status="error", summary=summary, hint=hint)
    return finding


def _old_copy(problem: Finding, path: str, version: str, subject: str) -> Finding:
    return problem.but(
        status="warning",
        summary=f"Python loads its own msvcp140.dll {version}, which is older than {subject} needs",
        hint=f"Rename {path}, so that Windows' newer one is loaded. With conda, update vc14_runtime instead.",
        fix=Fix(
            id="rename-msvcp140",
            applicability="manual",
            commands=(f"ren {quoted(path, windows=True)} msvcp140.dll.old",),
        ),
    )


def _unreadable_library(check: str, runtime: VcRuntimeFacts) -> Finding | None:
    for name, reading in (*runtime.system.items(), *runtime.copies.items(), (OPENMP, runtime.openmp)):
        if isinstance(reading, Unreadable):
            return could_not_look(check, name, reading.reason)
    return None


def _is_older(version: str | None, wanted: str | None) -> bool:
    return bool(version and wanted) and version_key(str(version)) < version_key(str(wanted))


CHECK = Check(
    id="vc-redist",
    group="build-tools",
    looks_at="vcruntime140.dll, vcruntime140_1.dll and msvcp140.dll in System32, and copies of msvcp140.dll next to python.exe and in conda's Library\\bin: their versions. Nothing is loaded.",
    why="torch, Triton and flash-attn contain DLLs that need this runtime. If it is missing or too old, importing them fails with WinError 126 or 1114.",
    by_hand="Install the newest Microsoft Visual C++ Redistributable for x64. Rename an older msvcp140.dll next to python.exe.",
    probes=(VC_RUNTIME, TORCH, WINGET),
    judge=judge,
    requires=(Requirement((VC_RUNTIME,), _unreadable_library),),
    systems=frozenset({"windows"}),
    because_of=(python_architecture.CHECK,),
)
