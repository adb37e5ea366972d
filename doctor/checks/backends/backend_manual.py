"""Does the reference attention, written in plain PyTorch operations, run here?"""

from doctor.checks.backends.backend import backend_check

CHECK = backend_check(
    "manual",
    why="It is the reference implementation and the last fallback. If it fails, torch itself does not work.",
    by_hand="Reinstall torch: if plain matrix products fail, its installation is damaged (see torch).",
    gpus_from=None,
)
