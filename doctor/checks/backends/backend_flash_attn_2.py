"""Does FlashAttention-2 run here?"""

from doctor.checks.backends.backend import backend_check
from wheels.flash_attn_builds import flash_attn_minimum_capability

CHECK = backend_check(
    "flash_attn_2",
    why="It is the fastest attention with a window on NVIDIA GPUs from Ampere on. Without it, training uses the next backend.",
    by_hand="See flash-attn and torch-cuda-build: the package, torch, the driver and the GPU must match.",
    gpus_from=flash_attn_minimum_capability(),
)
