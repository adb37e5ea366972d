"""Is Microsoft's C++ compiler installed, for building packages from source?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look
from doctor.host import Absent, Found, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.msvc import MSVC, MsvcFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.winget import WINGET

DOWNLOADS = "https://visualstudio.microsoft.com/downloads/"
BUILD_TOOLS = "Microsoft.VisualStudio.2022.BuildTools"
COMPONENTS = (
    "Microsoft.VisualStudio.Workload.VCTools",
    build_tool_fixes.COMPILER,
    build_tool_fixes.WINDOWS_SDK,
)


def judge(
    msvc: MsvcFacts, winget: Reading[str], nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    missing = Finding(
        check=CHECK.id,
        status="info",
        summary="No Microsoft C++ compiler: only building packages from source, and torch.compile on the processor, need one",
        measured="no Visual Studio",
        expected="Visual Studio 2022 or its Build Tools, with the C++ tools",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(DOWNLOADS,),
        fix=build_tool_fixes.by_winget(
            "install-build-tools",
            "the Visual Studio Build Tools 2022",
            winget,
            BUILD_TOOLS,
            *build_tool_fixes.overriding(*COMPONENTS),
            link=DOWNLOADS,
        ),
    )
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
    if isinstance(msvc.installations, Absent) or not msvc.studios:
        return missing
    evidence = tuple(
        Evidence(source="program", name=f"vswhere: {studio.path}", value=studio.version)
        for studio in msvc.studios
    )
    chosen = msvc.chosen
    if chosen is not None and isinstance(chosen.toolset, Found):
        toolset = chosen.toolset.value
        return Finding(
            check=CHECK.id,
            status="ok",
            summary=f"MSVC {toolset}",
            measured=f"MSVC {toolset} in {chosen.path}",
            expected=missing.expected,
            evidence=evidence,
        )
    for studio in msvc.studios:
        if isinstance(studio.toolset, Unreadable):
            return could_not_look(CHECK.id, f"the C++ tools in {studio.path}", studio.toolset.reason)
    newest = msvc.studios[0]
    without = missing.but(
        summary=f"Visual Studio is installed without its C++ tools: {newest.path}",
        measured="no C++ toolset",
        evidence=evidence,
        fix=build_tool_fixes.by_visual_studio(
            "add-cpp-tools",
            msvc.installer,
            newest.path,
            f"--add {build_tool_fixes.COMPILER}",
            f"--add {build_tool_fixes.windows_sdk(newest.version)}",
        ),
    )
    return as_needed(without, nvidia, torch, flash_attn)


CHECK = Check(
    id="msvc",
    group="build-tools",
    looks_at="The Visual Studio installations that vswhere lists, Build Tools included, and the C++ toolset in each.",
    why="Building flash-attn or xformers from source on Windows ends in 'Microsoft Visual C++ 14.0 or greater is required' without it.",
    by_hand="Install the Visual Studio 2022 Build Tools with the workload 'Desktop development with C++'.",
    probes=(MSVC, WINGET, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    systems=frozenset({"windows"}),
)
