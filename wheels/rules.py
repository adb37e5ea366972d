"""The rules that a wheel must meet. Each returns the reason why a wheel does not fit, as a clause, or None."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import lru_cache

from wheels.catalogue import Wheel
from wheels.compatibility import linux_cxx11_abi
from wheels.compatibility_data import table
from wheels.machine import Machine, TorchBuild
from wheels.tags import fits_but_for_glibc, fits_platform, fits_python

Rule = Callable[[Wheel, Machine, TorchBuild], str | None]


def same_platform(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if fits_platform(wheel.name, machine):
        return None
    if fits_but_for_glibc(wheel.name, machine) and machine.glibc:
        return f"is for {'.'.join(wheel.name.platforms)}; this machine has glibc {machine.glibc[0]}.{machine.glibc[1]}"
    return f"is for {'.'.join(wheel.name.platforms)}, not for {machine.platform}"


def same_python(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if fits_python(wheel.name, machine):
        return None
    here = f"{machine.python}{' free-threaded' * machine.free_threaded}"
    return f"is for Python {_pythons(wheel.name.pythons, wheel.name.abi)}, not for {here}"


@lru_cache(1024)
def _pythons(tags: tuple[str, ...], abi: str) -> str:
    """ "3.13 free-threaded", "3.9 and later"."""
    releases = " or ".join(re.sub(r"^(?:cp|py)(\d)(\d+)$", r"\1.\2", tag) for tag in tags)
    later = " and later" if abi == "abi3" else ""
    return f"{releases}{' free-threaded' * (abi.startswith('cp') and abi.endswith('t'))}{later}"


def says_what_it_was_built_for(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    silent = [
        what for what, label in (("torch", wheel.name.torch), ("CUDA", wheel.name.cuda)) if label is None
    ]
    return f"does not state which {' and '.join(silent)} it was built for" if silent else None


def not_known_bad(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    for file in table()["known_bad_wheels"]["files"]:
        if (
            wheel.publisher.id == file["publisher"]
            and file.get("folder") in (None, wheel.folder)
            and fnmatchcase(wheel.filename, file["file"])
        ):
            return str(file["why"])
    return None


def same_torch(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if wheel.name.torch == torch.minor:
        return None
    return f"was built for torch {wheel.name.torch}, not for {torch.minor}"


def same_cuda_major(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if torch.cuda is None:
        return f"needs a CUDA build of torch; this is {torch}"
    if wheel.name.cuda and wheel.name.cuda[0] == torch.cuda[0]:
        return None
    return f"was built for CUDA {wheel.cuda}; torch has CUDA {torch.cuda[0]}.{torch.cuda[1]}"


def same_cxx11_abi(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    """Windows has a single C++ ABI, so the label is ignored. Without a label the ABI is that of torch's own wheels."""
    if machine.system == "windows" or torch.cuda is None:
        return None
    new = wheel.name.cxx11_abi
    if new is None and wheel.name.cuda and wheel.name.cuda[1] is not None:
        new = linux_cxx11_abi(torch.version, (wheel.name.cuda[0], wheel.name.cuda[1]))
    if new is None or new == linux_cxx11_abi(torch.version, torch.cuda):
        return None
    return f"was built for the {'new' if new else 'old'} C++ ABI; torch uses the other one"
