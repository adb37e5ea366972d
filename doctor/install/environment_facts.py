"""What decides an installation: this Python, its torch, the GPUs and their driver, and the packages that are there."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import Version

from doctor.checks.packages import flash_attn, triton, xformers
from doctor.diagnosis import diagnose
from doctor.host import Distribution, Found, Host, Identity, Reading, RegistryValue, Unreadable
from doctor.probes.nvidia import NVIDIA
from doctor.probes.packages import TORCH, XFORMERS, TorchFacts, XformersFacts
from doctor.probes.python import PYTHON, PythonFacts
from doctor.probes.system import LONG_PATHS
from doctor.wheel_search.install_error import InstallError
from wheels.compatibility import parse_version, tag_of_cuda
from wheels.machine import Machine, TorchBuild


@dataclass(frozen=True)
class Facts:
    """All of this machine that a plan depends on. `installed` by normalised name; `broken`: what its own check calls so."""

    machine: Machine
    python: PythonFacts
    xformers: XformersFacts
    installed: dict[str, Distribution]
    long_paths: Reading[RegistryValue]
    broken: frozenset[str] = frozenset()


def look(host: Host) -> Facts:
    """Read this machine. Raises InstallError where something cannot be seen on which the choice depends."""
    nvidia, torch = NVIDIA.collect(host), TORCH.collect(host)
    if isinstance(nvidia.driver, Unreadable) and nvidia.has_gpu is not False:
        raise InstallError(
            f"The NVIDIA GPU cannot be asked what it is: {nvidia.driver.reason}. See: aios doctor explain nvidia-driver"
        )
    if nvidia.has_gpu and not nvidia.gpus:
        raise InstallError(
            "There is an NVIDIA GPU without a driver that works: which CUDA it allows is not known. "
            "See: aios doctor explain nvidia-driver"
        )
    distributions = host.distributions()
    if not isinstance(distributions, Found):
        raise InstallError("The installed packages cannot be listed. See: aios doctor")
    identity = host.identity
    driver = nvidia.driver.value.driver_version if isinstance(nvidia.driver, Found) else None
    machine = Machine(
        python=".".join(identity.python.split(".")[:2]),
        platform=_platform(identity),
        free_threaded=identity.python_free_threaded,
        glibc=identity.glibc,
        torch=_build(torch),
        compute_capabilities=tuple(sorted(set(nvidia.capabilities))),
        driver=driver,
    )
    installed = {str(canonicalize_name(each.name)): each for each in distributions.value}
    judged = diagnose(host, (flash_attn.CHECK, xformers.CHECK, triton.CHECK)).findings
    return Facts(
        machine,
        PYTHON.collect(host),
        XFORMERS.collect(host),
        installed,
        LONG_PATHS.collect(host),
        broken=frozenset(finding.check for finding in judged if finding.status == "error"),
    )


def _platform(identity: Identity) -> str:
    """A Linux without glibc takes other wheels than `linux_x86_64`, by which Python knows both."""
    if identity.os == "linux" and identity.glibc is None:
        return identity.python_platform.replace("linux_", "musllinux_1_2_", 1)
    return identity.python_platform


def _build(torch: TorchFacts) -> TorchBuild | None:
    """The installed torch. One that does not say what it is counts as none: it is put right by a new one."""
    if not isinstance(torch.build, Found):
        return None
    version = parse_version(torch.build.value.version)
    if version is None:
        return None
    cuda = torch.build.value.cuda
    return TorchBuild(Version(version.public), tag_of_cuda(cuda) if cuda else None)
