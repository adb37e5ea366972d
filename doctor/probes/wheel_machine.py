"""This machine as `wheels` describes one: the only place where identity, driver and torch become a `Machine`."""

from __future__ import annotations

import re

from doctor.host import Found, Identity
from doctor.probes.nvidia import NvidiaFacts
from wheels.machine import Machine, TorchBuild

MUSL = "musllinux_1_2_"


def machine_of(identity: Identity, nvidia: NvidiaFacts, torch: TorchBuild | None) -> Machine | None:
    """Return the machine that wheels are chosen for, with `torch` installed.

    None: what wheels are chosen by is not known. There is, or may be, an NVIDIA GPU that no driver reports, or Python
    does not state its version.
    """
    gpu_is_unknown = nvidia.has_gpu is not False and not nvidia.gpus
    if gpu_is_unknown or not re.fullmatch(r"\d+\.\d+", identity.python_minor):
        return None
    return Machine(
        python=identity.python_minor,
        platform=wheel_platform(identity),
        free_threaded=identity.python_free_threaded,
        glibc=identity.glibc,
        torch=torch,
        compute_capabilities=tuple(sorted(set(nvidia.capabilities))),
        driver=nvidia.driver.value.driver_version if isinstance(nvidia.driver, Found) else None,
    )


def wheel_platform(identity: Identity) -> str:
    """Return the platform tag of wheels for this Python: "win_amd64", "linux_x86_64", "musllinux_1_2_x86_64".

    Python calls a Linux without glibc "linux_x86_64", too; its wheels have a tag of their own (PEP 656).
    """
    if identity.os == "linux" and identity.glibc is None:
        return identity.python_platform.replace("linux_", MUSL, 1)
    return identity.python_platform
