"""Which xformers fits a torch on a machine: PyTorch's own index first, then other builders' wheels with a label."""

from __future__ import annotations

from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.compatibility import xformers_accepting, xformers_fault, xformers_index_tags
from wheels.machine import Machine, TorchBuild
from wheels.match import match
from wheels.tags import fits_platform, fits_python
from wheels.verdict import Item, Verdict, index_of, nothing

PACKAGE = "xformers"


def choose(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Verdict:
    """The newest xformers that accepts this torch and has kernels for its CUDA and for these GPUs."""
    if torch.cuda_tag is None:
        return nothing(PACKAGE, f"it needs a CUDA build of torch; this is {torch}")
    reasons = []
    for version in xformers_accepting(torch.version, machine.system):
        fault = xformers_fault(Version(version), machine.system, machine.compute_capabilities)
        if fault:
            reasons.append(f"{version}: {fault.why}")
        elif torch.cuda_tag in xformers_index_tags(Version(version)):
            item = Item(PACKAGE, version, f"{PACKAGE}=={version}", index=index_of(torch.cuda_tag))
            return Verdict(
                PACKAGE, item, (f"accepts torch {torch.version.base_version}", f"{torch.cuda_tag} build")
            )
        else:
            reasons.append(f"{version}: PyTorch's index has no build for {torch.cuda_tag}")
    found = match(
        catalogue.of(PACKAGE, machine.platform),
        why_not=lambda wheel: _why_not(wheel, machine, torch),
        preference=lambda wheel: (_newest_first(wheel), wheel.rank),
    )
    if found.best is None:
        no_release = f"no release accepts torch {torch.version.base_version}"
        return nothing(PACKAGE, *(reasons or [no_release]), match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    return Verdict(PACKAGE, item, (f"built for torch {torch.minor} and {torch.cuda_tag}",), match=found)


def _why_not(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    name = wheel.name
    if not fits_platform(name, machine):
        return f"is for {'.'.join(name.platforms)}, not for {machine.platform}"
    if name.torch is None or name.cuda is None:
        return "does not say for which torch and CUDA it was built"
    if not fits_python(name, machine):
        return f"is for Python {name.pythons[0]} ({name.abi}), not for {machine.abi_tag}"
    if name.torch != torch.minor:
        return f"was built for torch {name.torch}, not for {torch.minor}"
    if name.cuda != torch.cuda:
        return f"was built for CUDA {wheel.cuda}, not for {torch.cuda_tag}"
    fault = xformers_fault(Version(name.version), machine.system, machine.compute_capabilities)
    return fault.why if fault else None


def _newest_first(wheel: Wheel) -> tuple[int, ...]:
    version = Version(wheel.name.version)
    return tuple(-number for number in (*version.release, version.post or 0))
