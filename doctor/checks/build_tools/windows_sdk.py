"""Are the headers and libraries of Windows installed, which every C++ build takes?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look, skipped
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.msvc import MSVC, MsvcFacts, version_key
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.windows_sdk import FOLDER_VALUE, SDK_KEY, WINDOWS_SDK, WindowsSdkFacts

LINK = "https://developer.microsoft.com/windows/downloads/windows-sdk/"


def judge(
    sdk: WindowsSdkFacts, msvc: MsvcFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
    if msvc.chosen is None:
        return skipped(CHECK.id, "there is no Microsoft C++ compiler (see msvc)")
    for reading in (sdk.folder, sdk.sdks):
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, "the Windows SDKs", reading.reason)
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
    summary = finding.summary
    if newest is not None:
        if isinstance(newest.missing, Unreadable):
            return could_not_look(CHECK.id, f"Windows SDK {newest.version}", newest.missing.reason)
        lacks = newest.missing.value if isinstance(newest.missing, Found) else ()
        if not lacks:
            return finding
        summary = f"Windows SDK {newest.version} is incomplete: there is no {lacks[0]}"
    trouble = finding.but(
        summary=summary,
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
        fix=build_tool_fixes.by_visual_studio(
            "add-windows-sdk",
            msvc.installer,
            msvc.chosen.path,
            f"--add {build_tool_fixes.windows_sdk(msvc.chosen.version)}",
        ),
    )
    return as_needed(trouble, nvidia, torch, flash_attn)


CHECK = Check(
    id="windows-sdk",
    group="build-tools",
    looks_at="The Windows SDKs below the folder that the registry names: the headers and x64 libraries of the C runtime in the newest.",
    why="Without one no C++ compiles: 'Cannot open include file: corecrt.h', 'cannot open file kernel32.lib'.",
    by_hand="In the Visual Studio Installer: Modify > Individual components > Windows 11 SDK.",
    probes=(WINDOWS_SDK, MSVC, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(msvc_check.CHECK,),
)
