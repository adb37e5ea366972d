"""Does FlashAttention-4 run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "flash_attn_4",
    why="It is the fastest attention on Hopper and Blackwell GPUs, and compiles its kernels itself, so no wheel has to match "
    "torch. Without it, training uses the next backend.",
    by_hand="Install flash-attn-4 and nvidia-cutlass-dsl in the same environment as torch, and check that the driver fits "
    "(see torch-cuda-build).",
    gpus_from=(9, 0),
)
