"""Does the NVIDIA driver run programs of the CUDA version inside torch?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import compute_capability, nvidia_driver
from doctor.checks.shared import (
    NVIDIA_DRIVERS,
    cannot_tell,
    could_not_look,
    dotted,
    skipped,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice
from doctor.host import Absent, Found, Identity
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.compatibility import cuda_of_tag, driver_supports, minimum_driver

COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/"


def judge(nvidia: NvidiaFacts, torch: TorchFacts, identity: Identity, wheels: Catalogue) -> Finding:
    not_applicable = skipped_without_nvidia(CHECK.id, nvidia) or skipped_without_torch(CHECK.id, torch)
    if not_applicable:
        return not_applicable
    if isinstance(nvidia.driver, Absent):
        return skipped(CHECK.id, "the NVIDIA driver is missing (see nvidia-driver)")
    if not isinstance(nvidia.driver, Found):
        return could_not_look(CHECK.id, "the NVIDIA driver", nvidia.driver.reason)
    this = torch_is(torch)
    if this is None:
        return skipped(CHECK.id, f"nobody can tell torch's CUDA: {why_torch_is_unknown(torch)} (see torch)")
    if this.cuda_tag is None or this.cuda_major is None:
        return skipped(CHECK.id, "torch is a CPU build (see torch-cuda-build)")
    driver = nvidia.driver.value
    needed = minimum_driver(this.cuda_major, identity.os)
    supported = driver_supports(driver.driver_version, this.cuda_major, identity.os)
    if needed is None or supported is None:
        return cannot_tell(
            CHECK.id, f"which driver {this} needs", f"CUDA {this.cuda_major} is not known here"
        )
    newest = dotted(driver.cuda_version) if driver.cuda_version else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"NVIDIA driver {driver.driver_version} runs {this}",
        measured=f"driver {driver.driver_version}, made for CUDA {newest or 'unknown'}",
        expected=f"{needed} or newer for CUDA {this.cuda_major}",
        evidence=(
            Evidence(source=nvidia.evidence_source, name="driver version", value=driver.driver_version),
            Evidence(source=nvidia.evidence_source, name="newest CUDA of the driver", value=newest),
            Evidence(source="file", name="torch/version.py: cuda", value=this.cuda_tag),
        ),
    )
    if not supported:
        advised = advice("torch", identity, nvidia, this, wheels)
        fix = advised.fix if advised else None
        instead = f", or install a torch for this driver: {fix.commands[0]}" if fix else ""
        return finding.but(
            status="error",
            summary=f"{this} needs an NVIDIA driver from {needed} on; this one is {driver.driver_version}",
            impact=CHECK.why,
            hint=f"Install the newest NVIDIA driver and restart{instead}.",
            links=(NVIDIA_DRIVERS,),
            fix=Fix(
                id="update-nvidia-driver",
                applicability="manual",
                elevated=True,
                restart="system",
                reversible=False,
                commands=(f"Install the newest driver from {NVIDIA_DRIVERS}", "Restart the computer"),
            ),
        )
    if driver.cuda_version and driver.cuda_version < cuda_of_tag(this.cuda_tag):
        summary = (
            f"The driver is made for CUDA {newest}: it runs {this}, but not kernels compiled while it runs"
        )
        return finding.but(
            status="info",
            summary=summary,
            impact="Code that arrives as PTX (some extensions, NVRTC) ends in 'the provided PTX was compiled with an unsupported toolchain'.",
            hint="Nothing, unless you see that message; then install the newest NVIDIA driver.",
            links=(COMPATIBILITY, NVIDIA_DRIVERS),
        )
    return finding


CHECK = Check(
    id="driver-supports-cuda",
    group="gpu",
    looks_at="The driver's version and its newest CUDA, against the CUDA version inside torch.",
    why="With a driver older than its CUDA, torch finds no GPU: 'The NVIDIA driver on your system is too old'.",
    by_hand="Install the newest NVIDIA driver and restart, or install a torch built with an older CUDA.",
    probes=(NVIDIA, TORCH, IDENTITY, WHEELS),
    judge=judge,
    because_of=(nvidia_driver.CHECK, compute_capability.CHECK),
)
