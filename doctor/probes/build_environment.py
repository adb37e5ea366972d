"""What a build from source can use: the build packages of this Python, ninja, and memory."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Absent, Distribution, Found, Memory, Reader, Reading, Unreadable
from doctor.probes.python import externally_managed

PACKAGES = ("pip", "setuptools", "wheel", "packaging", "psutil", "ninja")


@dataclass(frozen=True)
class BuildPackagesFacts:
    """Packages and programs that builds need.

    Attributes:
        packages: the distributions named in PACKAGES, by name.
        ninja: the path of the ninja found on PATH.
        managed: whether this Python is externally managed, so that pip refuses to install into it (PEP 668).
    """

    packages: dict[str, Reading[Distribution]]
    ninja: Reading[str]
    managed: Reading[bool]


@dataclass(frozen=True)
class ParallelismFacts:
    """The variables that limit how many compilers a build starts, and the memory available to them."""

    max_jobs: str | None
    nvcc_threads: str | None
    memory: Reading[Memory]


def _is_managed(host: Reader) -> Reading[bool]:
    if host.identity.in_virtual_environment:
        return Found(False)
    marker = externally_managed(host)
    return marker if isinstance(marker, Unreadable) else Found(not isinstance(marker, Absent))


def _build_packages(host: Reader) -> BuildPackagesFacts:
    return BuildPackagesFacts(
        {name: host.distribution(name) for name in PACKAGES}, host.find_program("ninja"), _is_managed(host)
    )


def _parallelism(host: Reader) -> ParallelismFacts:
    return ParallelismFacts(host.variable("MAX_JOBS"), host.variable("NVCC_THREADS"), host.memory())


BUILD_PACKAGES = Probe("build-packages", _build_packages)
PARALLELISM = Probe("parallelism", _parallelism)
