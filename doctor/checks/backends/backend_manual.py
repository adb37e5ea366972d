"""Does the reference attention, written out in plain PyTorch, run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "manual",
    why="It is the readable reference and the last resort; where it fails, torch itself does not work.",
    by_hand="Install torch again: where plain matrix products fail, torch is damaged (see torch).",
    gpus_from=None,
)
