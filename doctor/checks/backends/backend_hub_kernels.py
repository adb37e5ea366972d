"""Does the FlashAttention-2 kernel from the Hugging Face hub run here?"""

from doctor.check import Requirement
from doctor.checks.backends.backend import backend_check
from doctor.checks.shared import skipped
from doctor.models import Finding
from doctor.probes.backends import BACKEND_PROBES, BackendFacts
from doctor.proofs import NO_HUB_KERNELS_ON_WINDOWS
from wheels.flash_attn_builds import flash_attn_minimum_capability


def _on_windows(check: str, facts: BackendFacts) -> Finding | None:
    none = facts.capability.reasons == (NO_HUB_KERNELS_ON_WINDOWS,)
    return skipped(check, NO_HUB_KERNELS_ON_WINDOWS) if none else None


CHECK = backend_check(
    "hub_kernels",
    why="On Linux and WSL it is FlashAttention-2 without a wheel that has to match torch. Without it, training uses the next "
    "backend.",
    by_hand="Download the kernel in a version that has a build for this torch and CUDA, or use another backend.",
    gpus_from=flash_attn_minimum_capability(),
    requires=(Requirement((BACKEND_PROBES["hub_kernels"],), _on_windows),),
)
