"""What the catalogue of wheels has for this machine, as findings carry it: which build, and the commands for it."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.checks.shared import for_this_python
from doctor.host import Identity
from doctor.models import Fix
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.wheel_machine import machine_of
from wheels.catalogue import Catalogue
from wheels.choice import Item, index_of
from wheels.machine import TorchBuild
from wheels.resolve import plan


@dataclass(frozen=True)
class Advice:
    """What to do about a package: `hint` says it, `fix` does it; None: nothing of it fits, and nothing stands in for it."""

    hint: str
    fix: Fix | None = None


def advice(
    package: str, identity: Identity, nvidia: NvidiaFacts, this: TorchBuild | None, wheels: Catalogue
) -> Advice | None:
    """How to get "flash-attn" beside this torch, or the torch itself. None: it is not known what this machine needs."""
    machine = machine_of(identity, nvidia, this)
    if machine is None:
        return None
    asked = (package, "xformers") if package == "flash-attn" else (package,)
    decided = plan(machine, wheels, asked)
    verdict = decided.verdicts[0]
    if verdict.item:
        reason = verdict.reasons[0]
        name = f"{verdict.item.package} {verdict.item.version}"
        return Advice(f"Install {name}, {reason}", _install(package, verdict.item, identity))
    if verdict.kept:
        return None
    stands_in = decided.verdicts[-1].item if decided.fallback == "xformers" else None
    hint = f"No build of {package} fits this machine: {verdict.reasons[0]}."
    if stands_in:
        return Advice(f"{hint} xformers serves instead", _install("xformers", stands_in, identity))
    return Advice(hint + " PyTorch's own attention serves instead." * (package == "flash-attn"))


def again(package: str, this: TorchBuild, identity: Identity) -> Fix:
    """How to get the same build of torch once more."""
    item = Item(package, this.labelled, f"{package}=={this.labelled}", index_of(this.cuda_tag))
    return Fix(
        id=f"install-{package}",
        applicability="manual",
        commands=(_by_pip(item, identity, "--force-reinstall --no-deps "),),
    )


def _install(package: str, item: Item, identity: Identity) -> Fix:
    """Torch brings what it depends on; the others must not choose a torch."""
    options = "" if package == "torch" else "--force-reinstall --no-deps "
    return Fix(
        id=f"install-{package}",
        applicability="manual",
        commands=(f"aios install {package}",),
        by_hand=(_by_pip(item, identity, options),),
    )


def _by_pip(item: Item, identity: Identity, options: str) -> str:
    what = item.wheel.url if item.wheel and item.wheel.url else item.requirement
    index = f" --index-url {item.index}" if item.index else ""
    return for_this_python(identity, "pip", f'install {options}"{what}"{index}')
