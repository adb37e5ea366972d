"""Is this a 64-bit Python for a processor that has PyTorch builds?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Identity
from doctor.models import Evidence, Finding
from doctor.probes.system import IDENTITY

PLATFORMS = {"windows": "win_amd64", "linux": "linux_x86_64 or linux_aarch64", "macos": "macosx"}


def judge(identity: Identity) -> Finding:
    platform = identity.python_platform
    if not platform or not identity.architecture:
        return could_not_look(CHECK.id, "the processor architecture", "Python did not report its platform")
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"64-bit Python ({platform})",
        measured=f"{identity.python_bits}-bit Python for {platform} on {identity.architecture}",
        expected=f"64-bit Python for {PLATFORMS[identity.os]}",
        evidence=(
            Evidence(source="identity", name="Python platform", value=platform),
            Evidence(source="identity", name="machine architecture", value=identity.architecture),
        ),
    )
    trouble = None
    if identity.python_bits != 64:
        trouble = f"This Python is {identity.python_bits}-bit, but PyTorch exists for 64-bit Python only"
    elif platform == "win_arm64":
        trouble = "This Python is for ARM64, but PyTorch has no CUDA build for Windows on ARM64"
    if trouble:
        return finding.but(status="error", summary=trouble, impact=CHECK.why, hint=CHECK.by_hand)
    if identity.os == "windows" and identity.architecture == "ARM64":
        return finding.but(
            status="info",
            summary="Windows on ARM64: this Python is emulated, and training uses the CPU only",
            impact="No NVIDIA driver and no CUDA build of PyTorch exist for Windows on ARM64.",
        )
    return finding


CHECK = Check(
    id="python-architecture",
    group="system",
    looks_at="Whether this Python is 64-bit, and its processor architecture.",
    why="PyTorch does not exist for 32-bit Python: pip fails with 'No matching distribution found for torch'.",
    by_hand="Install 64-bit (x64) Python, and recreate the virtual environment with it.",
    probes=(IDENTITY,),
    judge=judge,
)
