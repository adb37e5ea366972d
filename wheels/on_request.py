"""Choose packages that are only installed on request: torchvision, torchaudio, torchcodec, bitsandbytes, flash-attn-4.

SageAttention has a module of its own, because it has wheels in the catalogue.
"""

from __future__ import annotations

from dataclasses import replace

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.catalogue import Catalogue
from wheels.choice import Choice, Item, index_of, known_on, none_fits
from wheels.companions import bitsandbytes_fault, companion_requirement, newest_bitsandbytes
from wheels.compatibility_data import numbers, table
from wheels.machine import Machine, TorchBuild
from wheels.xformers import why_not_beside


def choose_torchvision(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    return _from_pytorch("torchvision", torch)


def choose_torchaudio(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    return _from_pytorch("torchaudio", torch)


def _from_pytorch(package: str, torch: TorchBuild) -> Choice:
    """Choose the release for this torch on the index that torch comes from."""
    wanted = companion_requirement(package, torch.version)
    if wanted is None:
        return none_fits(package, f"no release for {torch} is known", known_on("companions"))
    item = Item(package, wanted, f"{package}{wanted}", index_of(torch.cuda_tag))
    return Choice(package, item, (f"the release for torch {torch.minor}",))


def choose_torchcodec(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    """Choose the newest release for this torch and Python, on Windows from the package index, on Linux from PyTorch's index."""
    package, facts = "torchcodec", table()["torchcodec"]
    wanted = companion_requirement(package, torch.version)
    if wanted is None:
        return none_fits(package, f"no release for {torch} is known", known_on("companions"))
    built = SpecifierSet(facts["windows"] if machine.system == "windows" else "")
    fitting = [text for text in facts["releases"].split() if text in SpecifierSet(wanted) and text in built]
    if not fitting:
        reason = f"the releases for torch {torch.minor} ({wanted}) were not built for {machine.platform}"
        return none_fits(package, reason, known_on(package))
    for version in sorted(fitting, key=Version, reverse=True):
        if machine.python in _pythons(version) and not machine.free_threaded:
            index = index_of(torch.cuda_tag) if machine.system == "linux" else None
            item = Item(package, version, f"{package}=={version}", index)
            return Choice(package, item, (f"for torch {torch.minor}; decoding needs FFmpeg",))
    reason = f"{max(fitting, key=Version)} was not built for Python {machine.python}"
    return none_fits(package, reason + " (free-threaded)" * machine.free_threaded, known_on(package))


def _pythons(torchcodec: str) -> tuple[str, ...]:
    for row in table()["torchcodec"]["pythons"]:
        if torchcodec in SpecifierSet(row["versions"]):
            return tuple(row["pythons"].split())
    return ()


def choose_bitsandbytes(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    """Choose the newest release, which has a library for each CUDA version and fits every torch."""
    package, version = "bitsandbytes", newest_bitsandbytes()
    if torch.cuda is None:
        return none_fits(package, f"needs a CUDA build of torch; this is {torch}")
    facts = table()[package]
    oldest, here = numbers(facts["compute_capability_from"]), min(machine.capabilities, default=None)
    if here is not None and here < oldest:
        reason = "needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *here)
        return none_fits(package, reason, known_on(package))
    if machine.python_release < numbers(facts["python_from"]):
        return none_fits(package, f"{version} needs Python {facts['python_from']}", known_on(package))
    if machine.platform not in facts["platforms"].split():
        return none_fits(package, f"{version} is not built for {machine.platform}", known_on(package))
    if fault := bitsandbytes_fault(Version(version), torch.version, torch.cuda):
        return none_fits(package, f"{version} {fault}", known_on(package))
    item = Item(package, version, f"{package}=={version}")
    return Choice(package, item, (f"it has a library for CUDA {torch.cuda[0]}",))


def choose_flash_attn_4(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    """Choose the newest pre-release: it is pure Python, and compiles its kernels when they are first used."""
    package, facts = "flash-attn-4", table()["flash_attn_4"]
    if torch.cuda is None:
        return none_fits(package, f"needs a CUDA build of torch; this is {torch}")
    oldest, here = numbers(facts["compute_capability_from"]), min(machine.capabilities, default=None)
    if here is not None and here < oldest:
        reason = "needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *here)
        return none_fits(package, reason, known_on("flash_attn_4"))
    if machine.platform not in facts["platforms"].split():
        reason = f"nvidia-cutlass-dsl, which it needs, is not built for {machine.platform}"
        return none_fits(package, reason, known_on("flash_attn_4"))
    if machine.python not in facts["pythons"].split() or machine.free_threaded:
        reason = f"nvidia-cutlass-dsl, which it needs, is not built for Python {machine.python}"
        return none_fits(
            package, reason + " (free-threaded)" * machine.free_threaded, known_on("flash_attn_4")
        )
    if refused := _refused_by_xformers(machine, torch):
        return none_fits(package, refused)
    extra = "[cu13]" if torch.cuda[0] >= 13 else ""
    bound = (
        table()["flash_attn"]["cute_on_windows_from"]
        if machine.system == "windows"
        else facts["cutlass_dsl_from"]
    )
    version = str(facts["version"])
    item = Item(package, version, f"{package}=={version}", also=(f"nvidia-cutlass-dsl{extra}>={bound}",))
    reasons = ["a pre-release: there is no other release", f"with {' and '.join(item.also)}, and Triton"]
    if here is not None and here < numbers(facts["backward_from"]):
        reasons.append(
            "its backward pass needs compute capability {}; this GPU has {}.{}: inference only".format(
                facts["backward_from"], *here
            )
        )
    return Choice(package, item, tuple(reasons))


def _refused_by_xformers(machine: Machine, torch: TorchBuild) -> str | None:
    xformers, flash_attn = machine.installed_version("xformers"), machine.installed_version("flash-attn")
    if xformers is None or flash_attn is not None:
        return None
    with_it = replace(machine, installed=(*machine.installed, ("flash-attn-4", "4")))
    refused = why_not_beside(xformers, None, with_it, torch)
    return f"the installed xformers {xformers} {refused}" if refused and "flash-attn-4" in refused else None
