"""If this terminal is a Visual Studio command prompt: is it one in which torch can build?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.msvc import PROMPT, PromptFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts

LINK = "https://learn.microsoft.com/cpp/build/building-on-the-command-line"
X64 = "x64"


def judge(prompt: PromptFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts) -> Finding:
    if isinstance(prompt.compiler, Unreadable):
        return could_not_look(CHECK.id, "cl on PATH", prompt.compiler.reason)
    compiler = prompt.compiler.value if isinstance(prompt.compiler, Found) else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="A Visual Studio prompt for x64"
        if prompt.target
        else "No Visual Studio prompt: torch opens its own",
        measured=f"VSCMD_ARG_TGT_ARCH is {prompt.target or 'not set'}, DISTUTILS_USE_SDK is {prompt.use_sdk or 'not set'}",
        expected="no Visual Studio prompt, or one for x64 with DISTUTILS_USE_SDK=1",
        evidence=(
            Evidence(source="environment", name="VSCMD_ARG_TGT_ARCH", value=prompt.target),
            Evidence(source="environment", name="DISTUTILS_USE_SDK", value=prompt.use_sdk),
            Evidence(source="program", name="cl on PATH", value=compiler),
        ),
    )
    target = prompt.target or _target_of(compiler)
    if target not in (None, X64):
        return finding.but(
            status="warning",
            summary=f"The compiler of this terminal builds for {target}: torch needs x64",
            measured=f"{finding.measured}, cl is {compiler or 'not on PATH'}",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            links=(LINK,),
        )
    if prompt.target and not prompt.use_sdk:
        trouble = finding.but(
            summary="A Visual Studio prompt without DISTUTILS_USE_SDK: torch refuses to build in it",
            impact=CHECK.why,
            hint="Set DISTUTILS_USE_SDK=1 in this terminal, or build in an ordinary one.",
            links=(LINK,),
            fix=Fix(
                id="use-this-prompt",
                applicability="manual",  # right in this terminal alone: set for good, it breaks all others
                commands=set_in_terminal("DISTUTILS_USE_SDK", "1"),
            ),
        )
        return as_needed(trouble, nvidia, torch, flash_attn)
    return finding


def _target_of(compiler: str | None) -> str | None:
    """What a compiler builds for, by its folder: "...\\\\bin\\\\Hostx64\\\\x86\\\\cl.exe" -> "x86"."""
    parts = compiler.replace("/", "\\").casefold().split("\\") if compiler else []
    return parts[-2] if len(parts) > 2 and parts[-3].startswith("host") else None


CHECK = Check(
    id="msvc-environment",
    group="build-tools",
    looks_at="VSCMD_ARG_TGT_ARCH, DISTUTILS_USE_SDK and the cl on PATH.",
    why="A prompt for x86 ends in 'module machine type x64 conflicts' (LNK1112); in a prompt without DISTUTILS_USE_SDK torch stops with 'the VC environment is activated but DISTUTILS_USE_SDK is not set'.",
    by_hand="Build in an ordinary terminal, or in the 'x64 Native Tools Command Prompt' after `set DISTUTILS_USE_SDK=1`.",
    probes=(PROMPT, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    systems=frozenset({"windows"}),
)
