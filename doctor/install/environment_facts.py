"""The facts that an installation depends on: this Python, its torch, the GPUs, the driver and installed packages."""

from __future__ import annotations

from dataclasses import dataclass, replace

from packaging.utils import canonicalize_name

from doctor.checks.packages import flash_attn, triton, xformers
from doctor.diagnosis import diagnose
from doctor.host import Distribution, Found, Host, Reading, RegistryValue, Unreadable
from doctor.probes.nvidia import NVIDIA
from doctor.probes.packages import TORCH, XFORMERS, XformersFacts
from doctor.probes.python import PYTHON, PythonFacts
from doctor.probes.system import LONG_PATHS
from doctor.probes.wheel_machine import machine_of
from doctor.wheel_search.install_error import InstallError
from wheels.machine import Machine

OTHERS = ("flash-attn", "flash-attn-4", "xformers")  # xformers refuses some releases of the others


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a plan depends on. `installed`: by normalized name. `broken`: packages whose check reports an error."""

    machine: Machine
    python: PythonFacts
    xformers: XformersFacts
    installed: dict[str, Distribution]
    long_paths: Reading[RegistryValue]
    broken: frozenset[str] = frozenset()


def read_facts(host: Host) -> EnvironmentFacts:
    """Read the facts of this machine. Raises InstallError if one that the choice depends on cannot be read."""
    nvidia, torch = NVIDIA.collect(host), TORCH.collect(host)
    if isinstance(nvidia.driver, Unreadable) and nvidia.has_gpu is not False:
        raise InstallError(
            f"The NVIDIA GPU cannot be identified: {nvidia.driver.reason}. See: aios doctor explain nvidia-driver"
        )
    if nvidia.has_gpu and not nvidia.gpus:
        raise InstallError(
            "There is an NVIDIA GPU without a working driver, so the right CUDA version is not known. "
            "See: aios doctor explain nvidia-driver"
        )
    build = torch.build.value if isinstance(torch.build, Found) else None
    machine = machine_of(host.identity, nvidia, build)
    if machine is None:
        raise InstallError(f"This Python reports no valid version: {host.identity.python!r}.")
    distributions = host.distributions()
    if not isinstance(distributions, Found):
        raise InstallError("The installed packages cannot be listed. See: aios doctor")
    installed = {str(canonicalize_name(each.name)): each for each in distributions.value}
    beside = tuple((name, each.version) for name, each in sorted(installed.items()) if name in OTHERS)
    judged = diagnose(host, (flash_attn.CHECK, xformers.CHECK, triton.CHECK)).findings
    return EnvironmentFacts(
        replace(machine, installed=beside),
        PYTHON.collect(host),
        XFORMERS.collect(host),
        installed,
        LONG_PATHS.collect(host),
        broken=frozenset(finding.check for finding in judged if finding.status == "error"),
    )
