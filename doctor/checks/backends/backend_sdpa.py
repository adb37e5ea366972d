"""Does the attention inside PyTorch run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "sdpa",
    why="It needs nothing but PyTorch and runs on every device: what training falls back to.",
    by_hand="Install torch again: its own attention should work everywhere (see torch).",
    gpus_from=None,
)
