"""Requirements that several checks share. Each is tested before the check judges, so `judge` begins at its own question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doctor.check import Probe, Requirement
from doctor.checks.shared import cannot_tell, could_not_look, skipped, why_not, why_torch_is_unknown
from doctor.host import Absent, Found, Reading, Unreadable
from doctor.models import Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.msvc import MSVC, MsvcFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages


def readable(
    probe: Probe[Any], what: str, reading: Callable[[Any], Reading[Any]] = lambda facts: facts
) -> Requirement:
    """`reading(facts)` could be read: it is Found or Absent. `what` names it in the finding."""

    def unmet(check: str, facts: Any) -> Finding | None:
        seen = reading(facts)
        return could_not_look(check, what, seen.reason) if isinstance(seen, Unreadable) else None

    return Requirement((probe,), unmet)


def present(
    probe: Probe[Any], what: str, reading: Callable[[Any], Reading[Any]] = lambda facts: facts
) -> Requirement:
    """`reading(facts)` is Found, so `judge` can take its value with `shared.value_of`. `what` names it in the finding."""

    def unmet(check: str, facts: Any) -> Finding | None:
        seen = reading(facts)
        return None if isinstance(seen, Found) else could_not_look(check, what, why_not(seen))

    return Requirement((probe,), unmet)


def complete(package: str) -> Requirement:
    """No part of the package is missing; broken-distributions reports one that is."""

    def unmet(check: str, site: Reading[SitePackages]) -> Finding | None:
        if isinstance(site, Found) and any(each.package == package for each in site.value.damaged):
            return skipped(check, f"{package} is incomplete (see broken-distributions)")
        return None

    return Requirement((SITE_PACKAGES,), unmet)


def known_torch(question: str) -> Requirement:
    """The build of torch is known: `torch.build` is Found. `question` is what cannot be told without it."""

    def unmet(check: str, torch: TorchFacts) -> Finding | None:
        if isinstance(torch.build, Found):
            return None
        return cannot_tell(check, question, why_torch_is_unknown(torch))

    return Requirement((TORCH,), unmet)


def _no_nvidia_gpu(check: str, nvidia: NvidiaFacts) -> Finding | None:
    return skipped(check, "there is no NVIDIA GPU") if nvidia.has_gpu is False else None


def _no_nvidia_driver(check: str, nvidia: NvidiaFacts) -> Finding | None:
    if isinstance(nvidia.driver, Absent):
        return skipped(check, "the NVIDIA driver is missing (see nvidia-driver)")
    if isinstance(nvidia.driver, Unreadable):
        return could_not_look(check, "the NVIDIA driver", nvidia.driver.reason)
    return None


def _no_torch(check: str, torch: TorchFacts) -> Finding | None:
    return None if torch.installed else skipped(check, "torch is not installed")


def _cpu_torch(check: str, torch: TorchFacts) -> Finding | None:
    if isinstance(torch.build, Found) and torch.build.value.cuda_tag is None:
        return skipped(check, "torch is a CPU build (see torch-cuda-build)")
    return None


def _no_msvc(check: str, msvc: MsvcFacts) -> Finding | None:
    if isinstance(msvc.installations, Unreadable):
        return could_not_look(check, "the Visual Studio installations", msvc.installations.reason)
    return None if msvc.chosen else skipped(check, "there is no Microsoft C++ compiler (see msvc)")


def _no_cuda_toolkit(check: str, cuda: CudaFacts) -> Finding | None:
    toolkit = cuda.chosen_toolkit
    if toolkit is None and cuda.unreadable:
        return could_not_look(check, "the CUDA toolkits", "; ".join(cuda.unreadable))
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(check, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    if toolkit is None or isinstance(toolkit.nvcc, Absent):
        return skipped(check, "there is no CUDA toolkit")
    return None


# There is an NVIDIA GPU, or it is not known whether there is one
NVIDIA_GPU = Requirement((NVIDIA,), _no_nvidia_gpu)
# The NVIDIA driver answers: `nvidia.driver` is Found
NVIDIA_DRIVER = Requirement((NVIDIA,), _no_nvidia_driver)
# The driver could be asked for its GPUs
GPUS_READABLE = readable(NVIDIA, "the GPUs", lambda nvidia: nvidia.driver)
# torch is installed, or it is not known whether it is
TORCH_INSTALLED = Requirement((TORCH,), _no_torch)
# torch is not a CPU build, or its build is not known
CUDA_TORCH = Requirement((TORCH,), _cpu_torch)
# A Visual Studio with C++ tools is installed: `msvc.chosen` is not None
MSVC_COMPILER = Requirement((MSVC,), _no_msvc)
# A CUDA toolkit with an nvcc would be used by a build: `cuda.chosen_toolkit` is not None and its `nvcc` is Found
CUDA_TOOLKIT = Requirement((CUDA,), _no_cuda_toolkit)
