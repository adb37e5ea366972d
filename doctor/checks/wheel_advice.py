"""Which build of a package fits this machine, and the commands that install it, as findings carry them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from doctor.checks.shared import for_this_python, path_of
from doctor.host import Identity
from doctor.models import Fix
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.wheel_machine import machine_of
from wheels.catalogue import Catalogue
from wheels.choice import Item, index_of
from wheels.machine import TorchBuild
from wheels.resolve import resolve_one


@dataclass(frozen=True)
class Advice:
    """What to do about a package. `fix` is None if no build fits and there is no substitute."""

    hint: str
    fix: Fix | None = None


def advice(
    package: str,
    identity: Identity,
    nvidia: NvidiaFacts,
    torch: TorchBuild | None,
    catalogue: Catalogue,
    installed: tuple[tuple[str, str], ...] = (),
) -> Advice | None:
    """Return how to install a package beside `torch`, or torch itself. None: there is nothing to advise.

    Either it is not known what fits this machine, or the installed build fits. `installed`: names and versions of
    packages that it must work beside.
    """
    machine = machine_of(identity, nvidia, torch)
    if machine is None:
        return None
    if torch is not None and package != "torch" and torch.version.is_devrelease:
        return Advice(
            f"Packages are built for releases of torch, and {torch} is a nightly build: install a release first, or build {package} here."
        )
    machine = replace(machine, installed=installed)
    resolution = resolve_one(machine, catalogue, package)
    choice = resolution.choices[0]
    if choice.item:
        name = f"{choice.item.package} {choice.item.version}"
        return Advice(f"Install {name}, {choice.reasons[0]}", _install(package, choice.item, identity))
    if choice.kept:
        return None
    hint = f"No build of {package} fits this machine: {choice.reasons[0]}."
    if resolution.fallback == "xformers" and (substitute := resolution.choices[-1].item):
        return Advice(f"{hint} Use xformers instead", _install("xformers", substitute, identity))
    if package == "flash-attn":
        hint += " Training uses PyTorch's own attention instead."
    return Advice(hint)


def reinstall(package: str, torch: TorchBuild, identity: Identity) -> Fix:
    """Return the command that reinstalls the same build of torch."""
    item = Item(package, torch.labelled, f"{package}=={torch.labelled}", index_of(torch.cuda_tag))
    return Fix(
        id=f"install-{package}",
        applicability="manual",
        commands=(_by_pip(item, identity, "--force-reinstall --no-deps "),),
    )


def _install(package: str, item: Item, identity: Identity) -> Fix:
    """--no-deps, except for torch: a package that depends on torch would let pip replace torch."""
    options = "" if package == "torch" else "--force-reinstall --no-deps "
    return Fix(
        id=f"install-{package}",
        applicability="manual",
        commands=(f"aios install {package}",),
        by_hand=(_by_pip(item, identity, options),),
    )


def _by_pip(item: Item, identity: Identity, options: str) -> str:
    source = item.wheel.url if item.wheel and item.wheel.url else item.requirement
    index = f" --index-url {item.index}" if item.index else ""
    return for_this_python(identity, "pip", f"install {options}{path_of(identity, source)}{index}")
