"""Whether the packages that training needs are there; found out without importing them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from doctor.extras import how_to_add
from trainer.errors import UserError

TRAINING = ("torch", "transformers", "safetensors", "numpy", "peft")  # the extra "train" of aios


def require_training_packages() -> None:
    """Raise UserError if a package that training needs is missing. The doctor's installation alone has none of them."""
    if missing := [name for name in TRAINING if not _exists(name)]:
        raise UserError(missing_packages(missing))


def missing_packages(names: Sequence[str]) -> str:
    """What is missing, where, and the commands that install it."""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    are = "is" if len(names) == 1 else "are"
    first = "  aios install\n" if "torch" in names else ""
    return f"{listed} {are} not installed in {sys.prefix}. To install what training needs:\n{first}  {how_to_add('train')}"


def broken_package(error: ImportError | OSError) -> str | None:
    """What to do about a package that is installed and cannot be imported; None if the error has another cause."""
    name = _package_of(error)
    if name is None:
        return None
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return missing_packages([name])
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return f"{name} is installed in {sys.prefix} but cannot be imported: {reason[-1]}\nTo find the cause: aios doctor"


def _package_of(error: ImportError | OSError) -> str | None:
    """The package in whose import an error was raised."""
    if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
        return error.name
    frame, found = error.__traceback__, None
    while frame is not None:
        package = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        importing = frame.tb_frame.f_code.co_name == "<module>"
        if importing and package in TRAINING and found is None:
            found = package
        frame = frame.tb_next
    return found


def _exists(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False
