"""Does nvcc accept the C++ compiler that a build would take?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes, cuda_home
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.build_tools.msvc import BUILD_TOOLS
from doctor.checks.shared import cannot_tell, could_not_look, dotted, skipped, torch_is, why_not
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.cuda import CUDA, CudaFacts, Toolkit
from doctor.probes.msvc import MSVC, MsvcFacts, version_key
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from wheels.compatibility import msvc_accepted_by_nvcc
from wheels.source_build import msc_ver, nvcc_for_toolset, toolset_number

LINK = "https://docs.nvidia.com/cuda/cuda-installation-guide-microsoft-windows/"
Version = tuple[int, int]


def judge(
    cuda: CudaFacts, msvc: MsvcFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    toolkit, studio = cuda.chosen_toolkit, msvc.chosen
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
    if toolkit is None and cuda.unreadable:
        return could_not_look(CHECK.id, "the CUDA toolkits", "; ".join(cuda.unreadable))
    if toolkit is None or not isinstance(toolkit.nvcc, Found):
        return skipped(CHECK.id, "there is no CUDA toolkit")
    if studio is None or not isinstance(studio.toolset, Found):
        return skipped(CHECK.id, "there is no Microsoft C++ compiler (see msvc)")
    nvcc, toolset = toolkit.nvcc.value, toolset_number(studio.toolset.value)
    this = torch_is(torch)
    if this is not None and this.cuda_major not in (None, nvcc[0]):
        return skipped(CHECK.id, "the CUDA toolkit does not fit torch (see cuda-matches-torch)")
    accepted = toolkit.accepts.value if isinstance(toolkit.accepts, Found) else msvc_accepted_by_nvcc(nvcc)
    if toolset is None:
        return cannot_tell(CHECK.id, "which compiler this is", f"it calls itself {studio.toolset.value!r}")
    if accepted is None:
        why = why_not(toolkit.accepts, "host_config.h is missing")
        return cannot_tell(CHECK.id, f"which compilers nvcc {dotted(nvcc)} accepts", why)
    limits = f"MSVC {_toolset_of(accepted.start)} to {_toolset_of(accepted.stop - 1)}"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"nvcc {dotted(nvcc)} accepts MSVC {dotted(toolset)}",
        measured=f"MSVC {studio.toolset.value}, nvcc {dotted(nvcc)}",
        expected=limits,
        evidence=(
            Evidence(source="program", name=f"nvcc in {toolkit.path}", value=dotted(nvcc)),
            _limit_evidence(toolkit, accepted),
            Evidence(source="file", name=f"C++ toolset of {studio.path}", value=studio.toolset.value),
        ),
    )
    if _fits(toolset, nvcc, accepted):
        return finding
    needed = nvcc_for_toolset(toolset)
    refusal = (
        f"MSVC {dotted(toolset)} refuses nvcc {dotted(nvcc)}: its headers want CUDA {dotted(needed)} or newer"
        if needed and nvcc < needed
        else f"nvcc {dotted(nvcc)} refuses MSVC {dotted(toolset)}: it accepts {limits.removeprefix('MSVC ')}"
    )
    hint, fix = _way_out(msvc, nvcc, accepted)
    trouble = finding.but(summary=refusal, impact=CHECK.why, hint=hint, links=(LINK,), fix=fix)
    return as_needed(trouble, nvidia, torch, flash_attn)


def _way_out(msvc: MsvcFacts, nvcc: Version, accepted: range) -> tuple[str, Fix]:
    """Another toolset that is here already; else one that Visual Studio can install beside."""
    here = [
        (version_key(toolset), toolset, studio.path)
        for studio in msvc.studios
        for toolset in (studio.toolsets.value if isinstance(studio.toolsets, Found) else ())
        if (number := toolset_number(toolset)) and _fits(number, nvcc, accepted)
    ]
    if here:
        _, toolset, path = max(here)
        short = ".".join(toolset.split(".")[:2])
        commands = (
            f'call "{path}\\VC\\Auxiliary\\Build\\vcvarsall.bat" x64 -vcvars_ver={short}',
            "set DISTUTILS_USE_SDK=1",
        )
        hint = f"Build with MSVC {short}, which is installed, in a Command Prompt: {'; then '.join(commands)}"
        return hint, Fix(id="use-older-toolset", applicability="manual", commands=commands)
    newest = _newest_fitting(nvcc, accepted)
    component = f"Microsoft.VisualStudio.Component.VC.14.{newest}.17.{newest - 30}.x86.x64"
    hint = f"Install MSVC 14.{newest} beside the other, or a CUDA toolkit that accepts it; or take a prebuilt package."
    for studio in msvc.studios:
        if studio.version.startswith("17."):  # no other Visual Studio brings these toolsets
            return hint, build_tool_fixes.by_visual_studio(
                "add-older-toolset", msvc.installer, studio.path, f"--add {component}"
            )
    command = build_tool_fixes.winget_command(
        BUILD_TOOLS, *build_tool_fixes.overriding(component, build_tool_fixes.WINDOWS_SDK)
    )
    return hint, Fix(
        id="add-older-toolset",
        applicability="manual",
        elevated=True,
        reversible=False,
        commands=(build_tool_fixes.typed(command),),
    )


def _newest_fitting(nvcc: Version, accepted: range) -> int:
    """The newest toolset of Visual Studio 2022, 14.30 to 14.44, that works: its minor."""
    return max((m for m in range(30, 45) if _fits((14, m), nvcc, accepted)), default=30)


def _fits(toolset: Version, nvcc: Version, accepted: range) -> bool:
    needed = nvcc_for_toolset(toolset)
    return msc_ver(toolset) in accepted and (needed is None or nvcc >= needed)


def _toolset_of(number: int) -> str:
    """The toolset of an _MSC_VER: 1941 -> "14.41"."""
    return f"{number // 100 - 5}.{number % 100}"


def _limit_evidence(toolkit: Toolkit, accepted: range) -> Evidence:
    read = isinstance(toolkit.accepts, Found)
    name = "crt/host_config.h: _MSC_VER" if read else "known limits of this nvcc: _MSC_VER"
    value = f"{accepted.start} to {accepted.stop - 1}"
    return Evidence(source="file" if read else "metadata", name=name, value=value)


CHECK = Check(
    id="msvc-supported-by-nvcc",
    group="build-tools",
    looks_at="include\\crt\\host_config.h of the CUDA toolkit that a build would take, against the newest Visual Studio's C++ tools.",
    why="nvcc stops at a compiler that it does not know ('unsupported Microsoft Visual Studio version'), and MSVC 14.40 and later at an nvcc before 12.4 (STL1002).",
    by_hand="Build with an older toolset (vcvarsall.bat x64 -vcvars_ver=14.39), or with a newer CUDA toolkit; or take a prebuilt package. '-allow-unsupported-compiler' is a gamble.",
    probes=(CUDA, MSVC, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(cuda_home.CHECK, msvc_check.CHECK),
)
