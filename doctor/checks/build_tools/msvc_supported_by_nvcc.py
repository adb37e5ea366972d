"""Does nvcc accept the C++ compiler that a build would use?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes, cuda_home
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.build_tools.msvc import BUILD_TOOLS
from doctor.checks.requires import CUDA_TOOLKIT, MSVC_COMPILER
from doctor.checks.shared import cannot_tell, dotted, required, skipped, torch_is, value_of, why_not
from doctor.host import Found
from doctor.models import Evidence, Finding, Fix
from doctor.probes.cuda import CUDA, CudaFacts, Toolkit
from doctor.probes.msvc import MSVC, MsvcFacts, VisualStudio, version_key
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.quoting import for_cmd
from wheels.source_build import msc_ver, msvc_accepted_by_nvcc, nvcc_for_toolset, toolset_number

LINK = "https://docs.nvidia.com/cuda/cuda-installation-guide-microsoft-windows/"
Version = tuple[int, int]
VCVARSALL = "\\VC\\Auxiliary\\Build\\vcvarsall.bat"


def judge(
    cuda: CudaFacts, msvc: MsvcFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    toolkit, studio = required(cuda.chosen_toolkit), required(msvc.chosen)
    nvcc, installed = value_of(toolkit.nvcc), value_of(studio.toolset)
    this, toolset = torch_is(torch), toolset_number(installed)
    if this is not None and this.cuda_major not in (None, nvcc[0]):
        return skipped(CHECK.id, "the CUDA toolkit does not fit torch (see cuda-matches-torch)")
    if toolset is None:
        return cannot_tell(CHECK.id, "which compiler this is", f"its version is {installed!r}")
    accepted = toolkit.accepts.value if isinstance(toolkit.accepts, Found) else msvc_accepted_by_nvcc(nvcc)
    if accepted is None:
        reason = why_not(toolkit.accepts, "host_config.h is missing")
        return cannot_tell(CHECK.id, f"which compilers nvcc {dotted(nvcc)} accepts", reason)
    limits = f"{_toolset_of(accepted.start)} to {_toolset_of(accepted.stop - 1)}"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"nvcc {dotted(nvcc)} accepts MSVC {dotted(toolset)}",
        measured=f"MSVC {installed}, nvcc {dotted(nvcc)}",
        expected=f"MSVC {limits}",
        evidence=(
            Evidence(source="program", name=f"nvcc in {toolkit.path}", value=dotted(nvcc)),
            _limit_evidence(toolkit, accepted),
            Evidence(source="file", name=f"C++ toolset of {studio.path}", value=installed),
        ),
    )
    needed = _cuda_from(studio, toolset)
    if msc_ver(toolset) in accepted and (needed is None or nvcc >= needed):
        return finding
    summary = f"nvcc {dotted(nvcc)} rejects MSVC {dotted(toolset)}: it accepts {limits}"
    if needed and nvcc < needed:
        summary = f"MSVC {dotted(toolset)} rejects nvcc {dotted(nvcc)}: its headers require CUDA {dotted(needed)} or newer"
    hint, fix = _solution(msvc, nvcc, accepted)
    problem = finding.but(summary=summary, impact=CHECK.why, hint=hint, links=(LINK,), fix=fix)
    return with_build_severity(problem, nvidia, torch, flash_attn)


def _solution(msvc: MsvcFacts, nvcc: Version, accepted: range) -> tuple[str, Fix]:
    """Return a hint and a fix: use an installed toolset that fits, else install one."""
    fitting = [
        (version_key(toolset), toolset, studio.path)
        for studio in msvc.studios
        for toolset in (studio.toolsets.value if isinstance(studio.toolsets, Found) else ())
        if (number := toolset_number(toolset)) and _fits(number, nvcc, accepted)
    ]
    if fitting:
        _, toolset, path = max(fitting)
        return _use_toolset(".".join(toolset.split(".")[:2]), path)
    return _install_toolset(msvc, _newest_fitting(nvcc, accepted))


def _use_toolset(version: str, path: str) -> tuple[str, Fix]:
    commands = (
        f"call {for_cmd(path + VCVARSALL)} x64 -vcvars_ver={version}",
        "set DISTUTILS_USE_SDK=1",
    )
    hint = f"Build with MSVC {version}, which is installed, in a Command Prompt: {'; then '.join(commands)}"
    return hint, Fix(id="use-older-toolset", applicability="manual", commands=commands)


def _install_toolset(msvc: MsvcFacts, newest: int) -> tuple[str, Fix]:
    component = f"Microsoft.VisualStudio.Component.VC.14.{newest}.17.{newest - 30}.x86.x64"
    hint = f"Install MSVC 14.{newest} in addition, or a CUDA toolkit that accepts the installed one, or a prebuilt package."
    for studio in msvc.studios:
        if studio.version.startswith("17."):  # only Visual Studio 2022 offers these toolsets
            return hint, build_tool_fixes.add_to_visual_studio(
                "add-older-toolset", msvc.installer, studio.path, f"--add {component}"
            )
    options = build_tool_fixes.installer_options(component, build_tool_fixes.WINDOWS_SDK)
    command = build_tool_fixes.winget_command(BUILD_TOOLS, *options)
    return hint, Fix(
        id="add-older-toolset",
        applicability="manual",
        elevated=True,
        reversible=False,
        commands=(build_tool_fixes.as_typed(command),),
    )


def _newest_fitting(nvcc: Version, accepted: range) -> int:
    """Return the minor version of the newest fitting toolset of Visual Studio 2022 (14.30 to 14.44)."""
    return max((m for m in range(30, 45) if _fits((14, m), nvcc, accepted)), default=30)


def _cuda_from(studio: VisualStudio, toolset: Version) -> Version | None:
    """Return the oldest CUDA that the toolset's headers accept: as they state it, else as the table does. None: any."""
    return studio.cuda_from.value if isinstance(studio.cuda_from, Found) else nvcc_for_toolset(toolset)


def _fits(toolset: Version, nvcc: Version, accepted: range) -> bool:
    needed = nvcc_for_toolset(toolset)
    return msc_ver(toolset) in accepted and (needed is None or nvcc >= needed)


def _toolset_of(number: int) -> str:
    """Return the toolset of an _MSC_VER: 1941 -> "14.41"."""
    return f"{number // 100 - 5}.{number % 100}"


def _limit_evidence(toolkit: Toolkit, accepted: range) -> Evidence:
    read = isinstance(toolkit.accepts, Found)
    name = "crt/host_config.h: _MSC_VER" if read else "known limits of this nvcc: _MSC_VER"
    value = f"{accepted.start} to {accepted.stop - 1}"
    return Evidence(source="file" if read else "metadata", name=name, value=value)


CHECK = Check(
    id="msvc-supported-by-nvcc",
    group="build-tools",
    looks_at="include\\crt\\host_config.h of the CUDA toolkit that a build would use, and yvals_core.h, compared with the newest Visual Studio's C++ tools.",
    why="nvcc rejects compilers that it does not know ('unsupported Microsoft Visual Studio version'), and MSVC 14.40 and newer reject nvcc before 12.4, MSVC 14.51 before 13.2 (STL1002).",
    by_hand="Build with an older toolset (vcvarsall.bat x64 -vcvars_ver=14.39) or a newer CUDA toolkit, or install a prebuilt package. '-allow-unsupported-compiler' may produce broken code.",
    probes=(CUDA, MSVC, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(CUDA_TOOLKIT, MSVC_COMPILER),
    systems=frozenset({"windows"}),
    because_of=(cuda_home.CHECK, msvc_check.CHECK),
)
