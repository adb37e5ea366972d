"""Whether a CUDA toolkit can compile for the GPU that training uses."""

from __future__ import annotations

from doctor.checks.shared import dotted
from doctor.probes.nvidia import NvidiaFacts
from wheels.compatibility import why_nvcc_cannot_target


def why_not_for_gpu(nvcc: tuple[int, int], nvidia: NvidiaFacts) -> str | None:
    """Return why this toolkit cannot compile for the first GPU, as a sentence; None if it can."""
    for gpu in nvidia.gpus[:1]:
        if needed := why_nvcc_cannot_target(nvcc, gpu.compute_capability):
            capability = dotted(gpu.compute_capability)
            return f"CUDA toolkit {dotted(nvcc)} cannot compile for {gpu.name} (compute capability {capability}), which needs {needed}"
    return None
