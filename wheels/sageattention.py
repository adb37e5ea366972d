"""Choose SageAttention: on Windows a compiled wheel, on Linux the release on the package index, which is written in Triton."""

from __future__ import annotations

import re

from wheels import triton
from wheels.catalogue import Catalogue, Wheel
from wheels.choice import Choice, Item, known_on, listed, none_fits
from wheels.compatibility import contains_code_for
from wheels.compatibility_data import numbers, table
from wheels.machine import Machine, TorchBuild
from wheels.match import match, release_first
from wheels.rules import same_cuda_major, same_platform, same_python, says_what_it_was_built_for

PACKAGE = "sageattention"
AND_HIGHER = re.compile(r"torch\d+\.\d+(?:\.\d+)?andhigher")


def for_this_torch(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    """A wheel with libtorch's stable ABI ("torch2.10.0andhigher") fits that torch and later ones."""
    built_for = wheel.name.torch or ""
    if built_for == torch.minor:
        return None
    later = AND_HIGHER.search(wheel.filename) is not None
    if later and numbers(built_for) < torch.version.release[:2]:
        return None
    return f"was built for torch {built_for}{' and later' * later}, not for {torch.minor}"


def code_for_these_gpus(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    """Below compute capability 8.0 it needs no compiled kernels, only Triton."""
    major, minor = wheel.name.cuda or (0, 0)
    contained: list[str] = []
    for row in table()["sageattention"]["architectures"]:
        contained += row["contains"].split() if (major, minor or 0) >= numbers(row["cuda_from"]) else []
    for capability in machine.capabilities:
        if not contains_code_for(contained, capability) and not (
            (7, 5) <= capability < (8, 0) and triton.serves(machine, torch)
        ):
            return "has no code for compute capability {}.{}".format(*capability)
    return None


RULES = (
    same_platform,
    same_python,
    says_what_it_was_built_for,
    for_this_torch,
    same_cuda_major,
    code_for_these_gpus,
)


def choose(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    """Choose the wheel for Windows, or the release without compiled kernels for Linux."""
    if torch.cuda is None:
        return none_fits(PACKAGE, f"needs a CUDA build of torch; this is {torch}")
    if machine.system == "linux":
        return _for_linux(machine)

    def preference(wheel: Wheel) -> tuple[object, ...]:
        return wheel.name.cuda != torch.cuda, release_first(wheel.name.version), -_post(wheel), wheel.rank

    found = match(catalogue.of(PACKAGE, machine.platform), RULES, machine, torch, preference)
    if found.best is None:
        reason = found.nearest or f"there are no wheels for {machine.platform}"
        return none_fits(PACKAGE, reason, listed(catalogue, PACKAGE, machine.platform), match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    built_for = f"built for torch {found.best.name.torch} and CUDA {found.best.cuda}"
    return Choice(PACKAGE, item, (built_for, "it needs Triton"), match=found)


def _for_linux(machine: Machine) -> Choice:
    facts = table()["sageattention"]
    oldest, here = numbers(facts["triton_capability_from"]), min(machine.capabilities, default=None)
    if here is not None and here < oldest:
        reason = "needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *here)
        return none_fits(PACKAGE, reason, known_on(PACKAGE))
    version = str(facts["on_the_package_index"])
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}")
    return Choice(
        PACKAGE, item, ("its kernels are written in Triton; for SageAttention 2 there is only the source",)
    )


def _post(wheel: Wheel) -> int:
    """Return the post-release in the label: "cu130torch2.10.0andhigher.post6" -> 6."""
    found = re.search(r"\.post(\d+)", wheel.filename)
    return int(found[1]) if found else 0
