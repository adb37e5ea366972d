"""Does Triton find a C compiler for the launcher of its kernels?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.packages import triton as triton_check
from doctor.checks.shared import NO_ADVICE, could_not_look, skipped, skipped_without_nvidia
from doctor.checks.system import python_headers
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TRITON, TritonFacts
from doctor.probes.system import IDENTITY
from doctor.probes.triton_compiler import TRITON_COMPILER, CompilerFacts
from wheels.companions import triton_windows_has_compiler
from wheels.compatibility import parse_version

LINK = "https://github.com/woct0rdho/triton-windows"


def judge(compiler: CompilerFacts, triton: TritonFacts, nvidia: NvidiaFacts, identity: Identity) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    windows = identity.os == "windows"
    present = triton.triton_windows if windows else triton.triton
    if isinstance(present, Unreadable):
        return could_not_look(CHECK.id, "the package of Triton", present.reason)
    if isinstance(present, Absent):
        return skipped(CHECK.id, "Triton is not installed (see triton)")
    finding = Finding(
        check=CHECK.id,
        status="warning",
        summary="",
        measured=_measured(compiler),
        expected="a compiler of Triton's own, or CC naming one program"
        if windows
        else "gcc or clang on PATH",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,) if windows else (),
        evidence=(
            Evidence(source="environment", name="CC", value=compiler.cc),
            *(
                Evidence(source="program", name=name, value=found.value if isinstance(found, Found) else None)
                for name, found in compiler.on_path.items()
            ),
        ),
    )
    ok = {**NO_ADVICE, "status": "ok"}
    if compiler.cc:
        if isinstance(compiler.cc_found, Unreadable):
            return could_not_look(
                CHECK.id, f"the compiler that CC names ({compiler.cc})", compiler.cc_found.reason
            )
        if isinstance(compiler.cc_found, Found):
            return finding.model_copy(update={**ok, "summary": f"Triton compiles with {compiler.cc} (CC)"})
        trouble = "is a list, and Triton takes one program" if ";" in compiler.cc else "names no program"
        summary = f"CC={compiler.cc} {trouble}: it hides the compiler that Triton would find"
        return finding.model_copy(
            update={"summary": summary, "hint": "Remove the variable CC.", "fix": _unset(compiler, windows)}
        )
    if isinstance(compiler.bundled, Found) and "tcc.exe" in compiler.bundled.value:
        return finding.model_copy(update={**ok, "summary": "Triton brings its own C compiler"})
    for name, found in compiler.on_path.items():
        if isinstance(found, Found):
            return finding.model_copy(update={**ok, "summary": f"Triton compiles with {name}"})
        if isinstance(found, Unreadable):
            return could_not_look(CHECK.id, name, found.reason)
    if isinstance(compiler.bundled, Unreadable):
        return could_not_look(CHECK.id, "the compiler inside Triton", compiler.bundled.reason)
    version = parse_version(present.value.version)
    if not windows:
        hint = "Install gcc with your system's package manager (Debian, Ubuntu: sudo apt install gcc)."
        summary = "Triton finds no C compiler: neither gcc nor clang is on PATH"
        return finding.model_copy(update={"status": "info", "summary": summary, "hint": hint})
    if version and not triton_windows_has_compiler(version):
        summary = f"triton-windows {version} brings no C compiler yet, and none is on PATH"
        return finding.model_copy(update={"summary": summary})
    summary = f"triton-windows {present.value.version} lacks the C compiler that it is delivered with"
    hint = "Install triton-windows again; an antivirus program may have taken tcc.exe away."
    return finding.model_copy(update={"summary": summary, "hint": hint})


def _measured(compiler: CompilerFacts) -> str:
    if compiler.cc:
        return f"CC={compiler.cc}"
    on_path = ", ".join(name for name, found in compiler.on_path.items() if isinstance(found, Found))
    return f"CC is not set; on PATH: {on_path or 'none'}"


def _unset(compiler: CompilerFacts, windows: bool) -> Fix | None:
    """Removing a variable is for its owner to decide: other builds may want it."""
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
    why="Triton compiles a small launcher for every kernel; without a compiler torch.compile ends in 'Failed to find C compiler'.",
    by_hand="Upgrade triton-windows within the range for your torch: from 3.2.0.post13 on it brings a compiler. Remove the variable CC.",
    probes=(TRITON_COMPILER, TRITON, NVIDIA, IDENTITY),
    judge=judge,
    because_of=(triton_check.CHECK, python_headers.CHECK),
)
