"""Does Triton find a C compiler for the launchers of its kernels?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check, Requirement
from doctor.checks.packages import triton as triton_check
from doctor.checks.requires import NVIDIA_GPU
from doctor.checks.shared import could_not_look, skipped, value_of
from doctor.checks.system import python_headers
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Absent, Distribution, Found, Identity, Reading, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Evidence, Finding, FindingChanges, Fix
from doctor.probes.packages import TRITON, TritonFacts
from doctor.probes.system import IDENTITY
from doctor.probes.triton_compiler import TRITON_COMPILER, CompilerFacts
from wheels.compatibility import parse_version
from wheels.triton_releases import triton_windows_has_compiler

LINK = "https://github.com/woct0rdho/triton-windows"


def judge(compiler: CompilerFacts, triton: TritonFacts, identity: Identity) -> Finding:
    windows = identity.os == "windows"
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="",
        measured=_measured(compiler),
        expected="Triton's own compiler, or CC naming one program" if windows else "gcc or clang on PATH",
        evidence=(
            Evidence(source="environment", name="CC", value=compiler.cc),
            *(
                Evidence(source="program", name=name, value=path.value if isinstance(path, Found) else None)
                for name, path in compiler.on_path.items()
            ),
        ),
    )
    if compiler.cc:
        return _named_by_cc(compiler.cc, compiler, ok, windows)
    if isinstance(compiler.bundled, Found) and "tcc.exe" in compiler.bundled.value:
        return ok.but(summary="Triton has its own C compiler")
    for name, path in compiler.on_path.items():
        if isinstance(path, Found):
            return ok.but(summary=f"Triton compiles with {name}")
        if isinstance(path, Unreadable):
            return could_not_look(CHECK.id, name, path.reason)
    if isinstance(compiler.bundled, Unreadable):
        return could_not_look(CHECK.id, "the compiler inside Triton", compiler.bundled.reason)
    version = value_of(_installed(triton, identity)).version
    return _advised(ok, windows).but(**_without_compiler(version, windows))


def _advised(ok: Finding, windows: bool) -> Finding:
    links = (LINK,) if windows else ()
    return ok.but(status="warning", impact=CHECK.why, hint=CHECK.by_hand, links=links)


def _installed(triton: TritonFacts, identity: Identity) -> Reading[Distribution]:
    return triton.triton_windows if identity.os == "windows" else triton.triton


def _no_triton(check: str, triton: TritonFacts, identity: Identity) -> Finding | None:
    package = _installed(triton, identity)
    if isinstance(package, Unreadable):
        return could_not_look(check, "the Triton package", package.reason)
    return skipped(check, "Triton is not installed (see triton)") if isinstance(package, Absent) else None


def _named_by_cc(cc: str, compiler: CompilerFacts, ok: Finding, windows: bool) -> Finding:
    """Triton calls the program that CC names, and no other."""
    if isinstance(compiler.cc_found, Unreadable):
        return could_not_look(CHECK.id, f"the compiler that CC names ({cc})", compiler.cc_found.reason)
    if isinstance(compiler.cc_found, Found):
        return ok.but(summary=f"Triton compiles with {cc} (CC)")
    fault = (
        "is a list, but Triton expects one program" if ";" in cc else "names a program that does not exist"
    )
    return _advised(ok, windows).but(
        summary=f"CC={cc} {fault}; Triton tries no other compiler",
        hint="Remove the variable CC.",
        fix=_unset(compiler, windows),
    )


def _without_compiler(version: str, windows: bool) -> FindingChanges:
    if not windows:
        return {
            "status": "info",
            "summary": "Triton finds no C compiler: neither gcc nor clang is on PATH",
            "hint": "Install gcc with your system's package manager (Debian, Ubuntu: sudo apt install gcc).",
        }
    parsed = parse_version(version)
    if parsed and not triton_windows_has_compiler(parsed):
        return {"summary": f"triton-windows {version} does not include a C compiler, and none is on PATH"}
    return {
        "summary": f"The C compiler that triton-windows {version} includes is missing",
        "hint": "Reinstall triton-windows. Antivirus software may have removed tcc.exe.",
    }


def _measured(compiler: CompilerFacts) -> str:
    if compiler.cc:
        return f"CC={compiler.cc}"
    on_path = ", ".join(name for name, path in compiler.on_path.items() if isinstance(path, Found))
    return f"CC is not set; on PATH: {on_path or 'none'}"


def _unset(compiler: CompilerFacts, windows: bool) -> Fix:
    """Never a safe fix: other builds may need the variable."""
    if not windows:
        return Fix(id="unset-cc", applicability="manual", commands=("unset CC",))
    if not isinstance(compiler.user_cc, Found):
        return Fix(id="unset-cc", applicability="manual", commands=set_in_terminal("CC"))
    return Fix(
        id="unset-cc",
        applicability="unsafe",
        restart="shell",
        commands=(f"reg delete {USER_ENVIRONMENT} /v CC /f", *set_in_terminal("CC")),
        actions=(SetUserEnvironmentVariable(name="CC", state=None),),
    )


CHECK = Check(
    id="triton-compiler",
    group="packages",
    looks_at="The variable CC, the C compiler inside triton-windows, and the compilers on PATH, in the order in which Triton tries them.",
    why="Triton compiles a small launcher for every kernel. Without a compiler torch.compile stops with 'Failed to find C compiler'.",
    by_hand="Upgrade triton-windows within the range for your torch: 3.2.0.post13 and newer include a compiler. Remove the variable CC.",
    probes=(TRITON_COMPILER, TRITON, IDENTITY),
    judge=judge,
    because_of=(triton_check.CHECK, python_headers.CHECK),
    requires=(NVIDIA_GPU, Requirement((TRITON, IDENTITY), _no_triton)),
)
