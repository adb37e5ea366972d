"""Does PyTorch's own attention (SDPA) run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "sdpa",
    why="It needs only PyTorch and runs on every device. Training falls back to it.",
    by_hand="Reinstall torch: its own attention should work on every device (see torch).",
    gpus_from=None,
)
