"""Do the attention kernels of xformers run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "xformers",
    why="It brings windowed attention to GPUs and systems that flash-attn has no build for. Without it, training takes SDPA.",
    by_hand="See xformers and torch-cuda-build: the package, torch and the GPU must fit each other.",
    gpus_from=(5, 0),
)
