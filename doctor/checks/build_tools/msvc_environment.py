"""If this terminal is a Visual Studio command prompt, can torch build in it?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.requires import readable
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Found
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import PROMPT, PromptFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts

LINK = "https://learn.microsoft.com/cpp/build/building-on-the-command-line"
X64 = "x64"
SET_USE_SDK = Fix(
    id="use-this-prompt",
    applicability="manual",  # correct for this terminal only: set permanently, it breaks all others
    commands=set_in_terminal("DISTUTILS_USE_SDK", "1"),
)


def judge(prompt: PromptFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts) -> Finding:
    compiler = prompt.compiler.value if isinstance(prompt.compiler, Found) else None
    ok = "A Visual Studio prompt for x64" if prompt.target else "No Visual Studio prompt: torch opens its own"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=ok,
        measured=f"VSCMD_ARG_TGT_ARCH is {prompt.target or 'not set'}, DISTUTILS_USE_SDK is {prompt.use_sdk or 'not set'}",
        expected="no Visual Studio prompt, or one for x64 with DISTUTILS_USE_SDK=1",
        evidence=(
            Evidence(source="environment", name="VSCMD_ARG_TGT_ARCH", value=prompt.target),
            Evidence(source="environment", name="DISTUTILS_USE_SDK", value=prompt.use_sdk),
            Evidence(source="program", name="cl on PATH", value=compiler),
        ),
    )
    problem = finding.but(impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    target = prompt.target or _target_of(compiler)
    if target not in (None, X64):
        return problem.but(
            status="warning",
            summary=f"The compiler of this terminal builds for {target}, but torch needs x64",
            measured=f"{finding.measured}, cl is {compiler or 'not on PATH'}",
        )
    if prompt.target and not prompt.use_sdk:
        summary = "A Visual Studio prompt without DISTUTILS_USE_SDK: torch refuses to build in it"
        hint = "Set DISTUTILS_USE_SDK=1 in this terminal, or build in an ordinary one."
        problem = problem.but(summary=summary, hint=hint, fix=SET_USE_SDK)
        return with_build_severity(problem, nvidia, torch, flash_attn)
    return finding


def _target_of(compiler: str | None) -> str | None:
    """Return the architecture a compiler builds for, from its path: "...\\\\bin\\\\Hostx64\\\\x86\\\\cl.exe" -> "x86"."""
    parts = compiler.replace("/", "\\").casefold().split("\\") if compiler else []
    return parts[-2] if len(parts) > 2 and parts[-3].startswith("host") else None


CHECK = Check(
    id="msvc-environment",
    group="build-tools",
    looks_at="VSCMD_ARG_TGT_ARCH, DISTUTILS_USE_SDK and the cl on PATH.",
    why="A build in an x86 prompt fails with 'module machine type x64 conflicts' (LNK1112). In a prompt without DISTUTILS_USE_SDK torch stops with 'the VC environment is activated but DISTUTILS_USE_SDK is not set'.",
    by_hand="Build in an ordinary terminal, or in the 'x64 Native Tools Command Prompt' after `set DISTUTILS_USE_SDK=1`.",
    probes=(PROMPT, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(readable(PROMPT, "cl on PATH", lambda prompt: prompt.compiler),),
    systems=frozenset({"windows"}),
)
