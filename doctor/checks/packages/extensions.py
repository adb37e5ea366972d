"""Were the compiled extensions of other packages built for this torch and its CUDA?"""

from __future__ import annotations

import re

from doctor.check import Check, Requirement
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import TORCH_INSTALLED, known_torch, present
from doctor.checks.shared import could_not_look, dotted, value_of
from doctor.host import Distribution, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.extensions import EXTENSIONS, FLASH_ATTN, Extension, Extensions
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import INSTALLED, Installed
from doctor.probes.system import IDENTITY
from wheels.machine import TorchBuild

# These have checks of their own
OTHERS = {"torch", "torchvision", "torchaudio", "flash-attn", "xformers"}
CUDA_LIBRARY = re.compile(
    r"(?:cudart64|cublas64|cublaslt64)_(\d{2})\d?\.dll|lib(?:cudart|cublas)\w*\.so\.(\d+)"
)
# "+cu128torch2.9", "+torch2.9", "+pt2.8"; "andhigher" marks a build that newer releases can load, too
LABEL = re.compile(r"(?:torch|pt)(\d+)\.(\d+)[\d.]*(andhigher)?")
CUDA_LABEL = re.compile(r"cu(\d{2})\d")


def judge(
    extensions: Reading[Extensions], installed: Reading[Installed], torch: TorchFacts, identity: Identity
) -> Finding:
    found, build = value_of(extensions), value_of(torch.build)
    distributions = installed.value.distributions if isinstance(installed, Found) else {}
    for_newer_linux = {
        m.package: what for m in found.modules if (what := _why_this_linux_is_too_old(m, identity))
    }
    faults = {
        **for_newer_linux,
        **_labels_that_do_not_fit(distributions, build),
        **{module.package: fault for module in found.modules if (fault := _fault(module, build))},
    }
    names = sorted({module.package for module in found.modules})
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{', '.join(names)}: built for this torch" if names else "No other extension for torch",
        measured="; ".join(faults.values()) or ", ".join(names) or "no extension",
        expected=f"extensions built for {build}",
        evidence=tuple(
            Evidence(source="file", name=f"{module.package}: {module.file}", value=list(module.libraries))
            for module in found.modules
        ),
    )
    if not faults:
        if found.unreadable:
            return could_not_look(CHECK.id, *next(iter(found.unreadable.items())))
        return finding
    return _problem(finding, faults, build, next(iter(faults)) in for_newer_linux)


def _problem(finding: Finding, faults: dict[str, str], build: TorchBuild, newer_linux: bool) -> Finding:
    package, fault = next(iter(faults.items()))
    also = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    cuda = f" and CUDA {build.cuda_version}" if build.cuda else ""
    wanted = "an older glibc" if newer_linux else f"torch {build.minor}{cuda}"
    return finding.but(
        status="warning",
        summary=f"{fault}{also}",
        impact=CHECK.why,
        hint=f"Install the build of {package} for {wanted} from its own releases, build it here, or uninstall it.",
    )


def _why_this_linux_is_too_old(module: Extension, identity: Identity) -> str | None:
    if not (module.glibc and identity.glibc and module.glibc > identity.glibc):
        return None
    return (
        f"{module.package} needs glibc {dotted(module.glibc)}, and this system has {dotted(identity.glibc)}"
    )


def _fault(module: Extension, build: TorchBuild) -> str | None:
    """Return why this module does not load, as a sentence."""
    if not module.missing or module.package == FLASH_ATTN:
        return None
    majors = {int(match[1] or match[2]) for name in module.missing if (match := CUDA_LIBRARY.fullmatch(name))}
    if majors and build.cuda is None:
        return f"{module.package} was built for CUDA {max(majors)}, but {build} has no CUDA"
    if majors and max(majors) != build.cuda_major:
        return f"{module.package} was built for CUDA {max(majors)}, but torch for CUDA {build.cuda_major}: {module.file} needs {module.missing[0]}"
    return f"{module.package} does not load: {module.file} needs {module.missing[0]}, which is missing"


def _labels_that_do_not_fit(installed: dict[str, Distribution], build: TorchBuild) -> dict[str, str]:
    """Return the packages whose version names another torch or CUDA, each with a sentence about it."""
    faults = {}
    for name, distribution in installed.items():
        label = distribution.version.partition("+")[2]
        if name in OTHERS or not (built := LABEL.search(label)):
            continue
        torch, this = (int(built[1]), int(built[2])), build.version.release[:2]
        cuda = CUDA_LABEL.search(label)
        what = f"{name} {distribution.version}"
        if this < torch or (this != torch and not built[3]):
            faults[name] = f"{what} was built for torch {built[1]}.{built[2]}, but {build} is installed"
        elif cuda and int(cuda[1]) != build.cuda_major:
            faults[name] = f"{what} was built for CUDA {cuda[1]}, but {build} is installed"
    return faults


def _unreadable_packages(check: str, installed: Reading[Installed]) -> Finding | None:
    if isinstance(installed, Unreadable):
        return could_not_look(check, "the installed packages", installed.reason)
    return None


CHECK = Check(
    id="extensions",
    group="packages",
    looks_at="The compiled modules in site-packages and in all folders below it: the libraries of torch and CUDA that they import, on Linux the C library (glibc) that they need, and the torch and CUDA in a version such as 1.0.2+cu128torch2.9.",
    why="An extension built for another torch or CUDA fails with 'DLL load failed while importing', 'undefined symbol' or 'cannot open shared object file', and one for a newer Linux with 'version GLIBC_2.32 not found'.",
    by_hand="Install the build for the installed torch and CUDA from the package's own releases, or build it here.",
    probes=(EXTENSIONS, INSTALLED, TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        TORCH_INSTALLED,
        known_torch("which torch extensions should fit"),
        present(EXTENSIONS, "the compiled modules"),
        Requirement((INSTALLED,), _unreadable_packages),
    ),
)
