"""Is a Windows SDK installed, whose headers and libraries every C++ build needs?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.requires import MSVC_COMPILER, readable
from doctor.checks.shared import could_not_look, required
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.msvc import MSVC, MsvcFacts, VisualStudio, version_key
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.windows_sdk import FOLDER_VALUE, SDK_KEY, WINDOWS_SDK, WindowsSdk, WindowsSdkFacts

LINK = "https://developer.microsoft.com/windows/downloads/windows-sdk/"
UNFINISHED = "The Windows Driver Kit (WDK) creates such a folder without the C runtime."


def judge(
    sdk: WindowsSdkFacts, msvc: MsvcFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    studio = required(msvc.chosen)
    sdks = sdk.sdks.value if isinstance(sdk.sdks, Found) else ()
    newest = max(sdks, key=lambda one: version_key(one.version), default=None)
    folder = sdk.folder.value if isinstance(sdk.folder, Found) else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Windows SDK {newest.version}" if newest else "There is a C++ compiler, but no Windows SDK",
        measured=", ".join(one.version for one in sdks) or "no Windows SDK",
        expected="a Windows SDK with headers and x64 libraries",
        evidence=(
            Evidence(source="registry", name=f"{SDK_KEY}\\{FOLDER_VALUE}", value=folder),
            Evidence(source="file", name="versions with headers", value=[one.version for one in sdks]),
        ),
    )
    if newest is not None:
        if isinstance(newest.missing, Unreadable):
            return could_not_look(CHECK.id, f"Windows SDK {newest.version}", newest.missing.reason)
        missing = newest.missing.value if isinstance(newest.missing, Found) else ()
        if not missing:
            return finding
        finding = finding.but(summary=f"Windows SDK {newest.version} is incomplete: {missing[0]} is missing")
    problem = finding.but(impact=CHECK.why, hint=CHECK.by_hand, links=(LINK,))
    problem = _solved(problem, newest, sdks, msvc, studio)
    return with_build_severity(problem, nvidia, torch, flash_attn)


def _solved(
    problem: Finding,
    newest: WindowsSdk | None,
    sdks: tuple[WindowsSdk, ...],
    msvc: MsvcFacts,
    studio: VisualStudio,
) -> Finding:
    """Add the fix. An older SDK does not help: builds use the newest folder, even one that only the WDK made."""
    component: str | None = build_tool_fixes.windows_sdk_component(studio.version)
    build = version_key(newest.version)[2] if newest else 0
    if newest and build > int(str(component).rpartition(".")[2]):
        component = build_tool_fixes.windows_sdk_of_build(build)
        problem = problem.but(
            hint=f"{UNFINISHED} Install the Windows SDK {newest.version}, or remove the WDK."
        )
    if newest and any(_is_complete(sdk) for sdk in sdks):
        problem = problem.but(summary=f"{problem.summary}; builds use it although an older SDK is complete")
    if component is None:
        return problem
    fix = build_tool_fixes.add_to_visual_studio(
        "add-windows-sdk", msvc.installer, studio.path, f"--add {component}"
    )
    return problem.but(fix=fix)


def _is_complete(sdk: WindowsSdk) -> bool:
    return isinstance(sdk.missing, Found) and not sdk.missing.value


CHECK = Check(
    id="windows-sdk",
    group="build-tools",
    looks_at="The newest Windows SDK in the registered folder: the headers and x64 libraries of the C runtime.",
    why="Without it C++ does not compile: 'Cannot open include file: corecrt.h', 'cannot open file kernel32.lib'.",
    by_hand="In the Visual Studio Installer: Modify > Individual components > Windows 11 SDK.",
    probes=(WINDOWS_SDK, MSVC, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(
        MSVC_COMPILER,
        readable(WINDOWS_SDK, "the Windows SDKs", lambda sdk: sdk.folder),
        readable(WINDOWS_SDK, "the Windows SDKs", lambda sdk: sdk.sdks),
    ),
    systems=frozenset({"windows"}),
    because_of=(msvc_check.CHECK,),
)
