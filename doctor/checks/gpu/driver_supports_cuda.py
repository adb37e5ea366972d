"""Does the NVIDIA driver support the CUDA version that torch was built with?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.gpu import compute_capability, nvidia_driver
from doctor.checks.requires import NVIDIA_DRIVER, NVIDIA_GPU, TORCH_INSTALLED
from doctor.checks.shared import (
    NVIDIA_DRIVERS,
    cannot_tell,
    dotted,
    skipped,
    torch_is,
    value_of,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice
from doctor.host import Identity
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.compatibility import driver_supports, minimum_driver

COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/"
UPDATE_DRIVER = Fix(
    id="update-nvidia-driver",
    applicability="manual",
    elevated=True,
    restart="system",
    reversible=False,
    commands=(f"Install the newest driver from {NVIDIA_DRIVERS}", "Restart the computer"),
)


def judge(nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity, wheels: Catalogue) -> Finding:
    driver, this = value_of(nvidia.driver), value_of(torch.build)
    major = this.cuda_major or 0
    needed = minimum_driver(major, identity.os)
    supported = driver_supports(driver.driver_version, major, identity.os)
    if needed is None or supported is None:
        return cannot_tell(
            CHECK.id, f"which driver {this} needs", f"CUDA {this.cuda_major} is not known to aios"
        )
    newest = dotted(driver.cuda_version) if driver.cuda_version else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"NVIDIA driver {driver.driver_version} supports {this}",
        measured=f"driver {driver.driver_version}, made for CUDA {newest or 'unknown'}",
        expected=f"{needed} or newer for CUDA {this.cuda_major}",
        evidence=(
            Evidence(source=nvidia.evidence_source, name="driver version", value=driver.driver_version),
            Evidence(source=nvidia.evidence_source, name="newest CUDA of the driver", value=newest),
            Evidence(source="file", name="torch/version.py: cuda", value=this.cuda_tag),
        ),
    )
    if not supported:
        summary = f"{this} needs NVIDIA driver {needed} or newer; installed: {driver.driver_version}"
        advised = advice("torch", identity, nvidia, this, wheels)
        return _too_old(finding, summary, advised.fix if advised else None)
    if driver.cuda_version and this.cuda and driver.cuda_version < this.cuda:
        return finding.but(
            status="info",
            summary=f"The driver is made for CUDA {newest}: it runs {this}, but not kernels compiled at run time",
            impact="Code compiled from PTX (some extensions, NVRTC) fails with 'the provided PTX was compiled with an unsupported toolchain'.",
            hint="Nothing to do unless you see that message; then install the newest NVIDIA driver.",
            links=(COMPATIBILITY, NVIDIA_DRIVERS),
        )
    return finding


def _too_old(finding: Finding, summary: str, other_torch: Fix | None) -> Finding:
    instead = f", or install a torch for this driver: {other_torch.commands[0]}" if other_torch else ""
    return finding.but(
        status="error",
        summary=summary,
        impact=CHECK.why,
        hint=f"Install the newest NVIDIA driver and restart{instead}.",
        links=(NVIDIA_DRIVERS,),
        fix=UPDATE_DRIVER,
    )


def _no_cuda_version(check: str, torch: TorchFacts) -> Finding | None:
    this = torch_is(torch)
    if this is None:
        return skipped(check, f"torch's CUDA version is unknown: {why_torch_is_unknown(torch)} (see torch)")
    if this.cuda_major is None:
        return skipped(check, "torch is a CPU build (see torch-cuda-build)")
    return None


CHECK = Check(
    id="driver-supports-cuda",
    group="gpu",
    looks_at="The driver's version and the newest CUDA it supports, compared with torch's CUDA version.",
    why="With a driver too old for its CUDA version, torch finds no GPU: 'The NVIDIA driver on your system is too old'.",
    by_hand="Install the newest NVIDIA driver and restart, or install a torch built with an older CUDA.",
    probes=(NVIDIA, TORCH, IDENTITY, WHEELS),
    judge=judge,
    requires=(NVIDIA_GPU, TORCH_INSTALLED, NVIDIA_DRIVER, Requirement((TORCH,), _no_cuda_version)),
    because_of=(nvidia_driver.CHECK, compute_capability.CHECK),
)
