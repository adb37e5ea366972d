"""The judgement that the four backend checks share: did the backend run here, and agree with the reference?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import flash_attn, torch_cuda_build, wheel_tags, xformers
from doctor.checks.shared import (
    cannot_tell,
    dotted,
    skipped,
    skipped_as_damaged,
    skipped_without_nvidia,
    skipped_without_torch,
)
from doctor.host import Reading
from doctor.models import Evidence, Finding
from doctor.probes.backends import BACKEND_PROBES, PACKAGES, BackendFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages
from doctor.proofs import BackendName
from wheels.compatibility import ComputeCapability

# Whose failure explains that of a backend: its package's before what every backend needs
OF_ITS_PACKAGE = {"flash_attn_2": (flash_attn.CHECK,), "xformers": (xformers.CHECK,)}
OF_ALL = (wheel_tags.CHECK, torch_cuda_build.CHECK, vc_redist.CHECK)
LOOKS_AT = (
    "Runs the {backend} attention in a process of its own: forward and backward, with and without a window, "
    "against a float64 reference."
)


def backend_check(backend: BackendName, why: str, by_hand: str, gpus_from: ComputeCapability | None) -> Check:
    """The check `backend-...` of one backend; `gpus_from` is the oldest GPU that it serves, None: it needs none."""
    check_id = f"backend-{backend.replace('_', '-')}"

    def judge(
        facts: BackendFacts, torch: TorchFacts, nvidia: NvidiaFacts, site: Reading[SitePackages]
    ) -> Finding:
        damaged = skipped_as_damaged(check_id, site, PACKAGES.get(backend))
        return damaged or _judge(check, backend, facts, torch, nvidia, gpus_from)

    check = Check(
        id=check_id,
        group="backends",
        looks_at=LOOKS_AT.format(backend=backend),
        why=why,
        by_hand=by_hand,
        probes=(BACKEND_PROBES[backend], TORCH, NVIDIA, SITE_PACKAGES),
        judge=judge,
        because_of=(*OF_ITS_PACKAGE.get(backend, ()), *OF_ALL),
    )
    return check


def _judge(
    check: Check,
    backend: BackendName,
    facts: BackendFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    gpus_from: ComputeCapability | None,
) -> Finding:
    capability = facts.capability
    reasons = "; ".join(capability.reasons)
    if capability.status == "available":
        proof = capability.evidence
        errors = (
            proof and f"largest error forward {proof.forward_error:.1e}, backward {proof.backward_error:.1e}"
        )
        return Finding(
            check=check.id,
            status="ok",
            summary=f"{backend} runs on {', '.join(capability.devices)}",
            measured=errors or "",
            expected="runs here and agrees with the reference",
            evidence=(
                Evidence(source="process", name="dtypes", value=list(capability.dtypes)),
                Evidence(source="process", name="devices", value=list(capability.devices)),
            ),
        )
    if without := skipped_without_torch(check.id, torch):
        return without
    if gpus_from is not None:
        if without := skipped_without_nvidia(check.id, nvidia):
            return without
        if nvidia.gpus and max(nvidia.capabilities) < gpus_from:
            return skipped(check.id, f"it needs a GPU of compute capability {dotted(gpus_from)} or higher")
        if nvidia.reported and not nvidia.visible:
            return skipped(check.id, "CUDA_VISIBLE_DEVICES hides every GPU (see gpu)")
    if capability.status == "unknown":
        return cannot_tell(check.id, f"whether {backend} works", reasons, check.by_hand)
    if not facts.installed:
        return Finding(
            check=check.id,
            status="info",
            summary=f"{backend} cannot be used: {reasons}",
            measured=reasons,
            impact=check.why,
            hint=check.by_hand,
        )
    return Finding(
        check=check.id,
        status="error",
        summary=f"{backend} does not work here: {reasons}",
        measured=reasons,
        expected="runs here and agrees with the reference",
        impact=check.why,
        hint=check.by_hand,
        evidence=(Evidence(source="process", name=f"proof of {backend}", value=reasons),),
    )
