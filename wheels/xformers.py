"""Which xformers fits a torch on a machine: PyTorch's own index first, then other builders' wheels with a label."""

from __future__ import annotations

from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.compatibility import xformers_accepting, xformers_fault, xformers_index_tags
from wheels.machine import Machine, TorchBuild
from wheels.match import match, newest_first
from wheels.rules import same_platform, same_python, same_torch, says_what_it_was_built_for
from wheels.verdict import Item, Verdict, index_of, nothing

PACKAGE = "xformers"


def same_cuda(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if wheel.name.cuda == torch.cuda:
        return None
    return f"was built for CUDA {wheel.cuda}, not for {torch.cuda_tag}"


def works_on_these_gpus(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    fault = xformers_fault(Version(wheel.name.version), machine.system, machine.compute_capabilities)
    return fault.why if fault else None


RULES = (
    same_platform,
    same_python,
    says_what_it_was_built_for,
    same_torch,
    same_cuda,
    works_on_these_gpus,
)


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
    found = match(catalogue.of(PACKAGE, machine.platform), RULES, machine, torch, _preference)
    if found.best is None:
        no_release = f"no release accepts torch {torch.version.base_version}"
        return nothing(PACKAGE, *(reasons or [no_release]), match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    return Verdict(PACKAGE, item, (f"built for torch {torch.minor} and {torch.cuda_tag}",), match=found)


def _preference(wheel: Wheel) -> tuple[object, ...]:
    version = Version(wheel.name.version)
    return newest_first(*version.release, version.post or 0), wheel.rank
