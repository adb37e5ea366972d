"""The judgement that the backend checks share: did the backend run here and match the reference?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import flash_attn, torch_cuda_build, wheel_tags, xformers
from doctor.checks.requires import NVIDIA_GPU, TORCH_INSTALLED, complete
from doctor.checks.shared import cannot_tell, dotted, skipped
from doctor.models import Evidence, Finding
from doctor.probes.backends import BACKEND_PROBES, PACKAGES, BackendFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.proofs import BackendCapability, BackendName
from wheels.compatibility import ComputeCapability

# The checks whose failure explains that of a backend: first its package's, then what every backend needs
CAUSES_IN_PACKAGE = {"flash_attn_2": (flash_attn.CHECK,), "xformers": (xformers.CHECK,)}
CAUSES = (wheel_tags.CHECK, torch_cuda_build.CHECK, vc_redist.CHECK)
EXPECTED = "runs here and matches the reference"


def backend_check(
    backend: BackendName,
    why: str,
    by_hand: str,
    gpus_from: ComputeCapability | None,
    requires: tuple[Requirement, ...] = (),
) -> Check:
    """Return the check `backend-...`.

    Args:
        gpus_from: the oldest GPU that the backend supports; None: it runs on the CPU too.
        requires: what it needs besides; tested first.
    """
    package = PACKAGES.get(backend)

    def judge(facts: BackendFacts) -> Finding:
        return _judge(check, backend, facts)

    check = Check(
        id=f"backend-{backend.replace('_', '-')}",
        group="backends",
        looks_at=f"Runs the {backend} attention in a process of its own: forward and backward, with and without a window, "
        "against a float64 reference.",
        why=why,
        by_hand=by_hand,
        probes=(BACKEND_PROBES[backend],),
        judge=judge,
        because_of=(*CAUSES_IN_PACKAGE.get(backend, ()), *CAUSES),
        requires=(
            *requires,
            *((complete(package),) if package else ()),
            TORCH_INSTALLED,
            *((_supported_gpu(backend, gpus_from),) if gpus_from else ()),
        ),
    )
    return check


def _supported_gpu(backend: BackendName, gpus_from: ComputeCapability) -> Requirement:
    """A GPU on which the backend can run. Met if it did run: torch may use a GPU of another vendor."""

    def unmet(check: str, facts: BackendFacts, nvidia: NvidiaFacts) -> Finding | None:
        if facts.capability.status == "available":
            return None
        if nvidia.gpus and max(nvidia.capabilities) < gpus_from:
            return skipped(check, f"it needs a GPU of compute capability {dotted(gpus_from)} or higher")
        if nvidia.reported and not nvidia.visible:
            return skipped(check, "CUDA_VISIBLE_DEVICES hides every GPU (see gpu)")
        return NVIDIA_GPU.unmet(check, nvidia)

    return Requirement((BACKEND_PROBES[backend], NVIDIA), unmet)


def _judge(check: Check, backend: BackendName, facts: BackendFacts) -> Finding:
    capability = facts.capability
    reasons = "; ".join(capability.reasons)
    if capability.status == "available":
        return _available(check, backend, capability)
    if capability.status == "unknown":
        return cannot_tell(check.id, f"whether {backend} works", reasons, check.by_hand)
    failed = Finding(
        check=check.id,
        status="error",
        summary=f"{backend} does not work here: {reasons}",
        measured=reasons,
        expected=EXPECTED,
        impact=check.why,
        hint=check.by_hand,
        evidence=(Evidence(source="process", name=f"proof of {backend}", value=reasons),),
    )
    if facts.installed:
        return failed
    summary = f"{backend} cannot be used: {reasons}"
    return failed.but(status="info", summary=summary, expected="", evidence=())


def _available(check: Check, backend: BackendName, capability: BackendCapability) -> Finding:
    proof = capability.evidence
    measured = ""
    if proof:
        measured = f"largest error forward {proof.forward_error:.1e}, backward {proof.backward_error:.1e}"
    if capability.reasons:  # an implementation, a number format or a feature that is not used then
        measured += f"; not used: {'; '.join(capability.reasons)}"
    return Finding(
        check=check.id,
        status="ok",
        summary=f"{backend} runs on {', '.join(capability.devices)}",
        measured=measured,
        expected=EXPECTED,
        evidence=(
            Evidence(source="process", name="dtypes", value=list(capability.dtypes)),
            Evidence(source="process", name="devices", value=list(capability.devices)),
        ),
    )
