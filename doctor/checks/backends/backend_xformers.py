"""Do the attention kernels of xformers run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "xformers",
    why="It has windowed attention for GPUs and systems without a flash-attn build. Without it, training uses SDPA.",
    by_hand="See xformers and torch-cuda-build: the package, torch and the GPU must match.",
    gpus_from=(5, 0),
)
