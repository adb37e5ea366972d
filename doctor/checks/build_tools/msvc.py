"""Is Microsoft's C++ compiler installed, for building packages from source?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.requires import readable
from doctor.checks.shared import could_not_look, value_of
from doctor.host import Found, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
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
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary="No Microsoft C++ compiler, which is only needed to build packages from source and for torch.compile on the CPU",
        measured="no Visual Studio",
        expected="Visual Studio 2022 or its Build Tools, with the C++ tools",
        evidence=tuple(
            Evidence(source="program", name=f"vswhere: {studio.path}", value=studio.version)
            for studio in msvc.studios
        ),
    )
    if (chosen := msvc.chosen) and isinstance(chosen.toolset, Found):
        toolset = chosen.toolset.value
        return finding.but(
            status="ok", summary=f"MSVC {toolset}", measured=f"MSVC {toolset} in {chosen.path}"
        )
    problem = finding.but(impact=CHECK.why, hint=CHECK.by_hand, links=(DOWNLOADS,))
    if not msvc.studios:
        return problem.but(fix=_install_build_tools(winget))
    for studio in msvc.studios:
        if isinstance(studio.toolset, Unreadable):
            return could_not_look(CHECK.id, f"the C++ tools in {studio.path}", studio.toolset.reason)
    return with_build_severity(_unusable(problem, msvc), nvidia, torch, flash_attn)


def _unusable(problem: Finding, msvc: MsvcFacts) -> Finding:
    """There is a Visual Studio, but builds cannot use its compiler."""
    for studio in msvc.studios:
        if studio.pending:
            return problem.but(
                summary=f"{studio.name} is installed, but builds do not find it: {studio.pending}",
                measured=f"{studio.path}: {studio.pending}",
                hint="Restart Windows. Then open the Visual Studio Installer and finish or repair the installation.",
            )
    without_x64 = next((studio for studio in msvc.studios if isinstance(studio.toolset, Found)), None)
    studio = without_x64 or msvc.studios[0]
    summary = f"Visual Studio is installed without its C++ tools: {studio.path}"
    measured = "no C++ toolset"
    if without_x64:
        summary = f"{studio.name} has C++ tools, but none for x64: {studio.path}"
        measured = f"no bin\\Hostx64\\x64\\cl.exe in MSVC {value_of(studio.toolset)}"
    fix = build_tool_fixes.add_to_visual_studio(
        "add-cpp-tools",
        msvc.installer,
        studio.path,
        f"--add {build_tool_fixes.COMPILER}",
        f"--add {build_tool_fixes.windows_sdk_component(studio.version)}",
    )
    return problem.but(summary=summary, measured=measured, fix=fix)


def _install_build_tools(winget: Reading[str]) -> Fix:
    return build_tool_fixes.install_with_winget(
        "install-build-tools",
        "the Visual Studio Build Tools 2022",
        winget,
        BUILD_TOOLS,
        *build_tool_fixes.installer_options(*COMPONENTS),
        link=DOWNLOADS,
    )


CHECK = Check(
    id="msvc",
    group="build-tools",
    looks_at="The Visual Studio installations listed by vswhere, including Build Tools and incomplete ones, and the C++ toolset and x64 compiler in each.",
    why="Without it, building flash-attn or xformers from source on Windows fails with 'Microsoft Visual C++ 14.0 or greater is required'.",
    by_hand="Install the Visual Studio 2022 Build Tools with the workload 'Desktop development with C++'.",
    probes=(MSVC, WINGET, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(readable(MSVC, "the Visual Studio installations", lambda msvc: msvc.installations),),
    systems=frozenset({"windows"}),
)
