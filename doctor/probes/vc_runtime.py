"""Microsoft's C++ runtime: the libraries in System32, and copies beside Python that take precedence over them."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Binary, Found, Reader, Reading, Unreadable
from doctor.probes.paths import join, system32

RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")
STANDARD_LIBRARY = "msvcp140.dll"
OPENMP = "libomp140.x86_64.dll"


@dataclass(frozen=True)
class VcRuntimeFacts:
    """The C++ runtime libraries.

    Attributes:
        system: the libraries of RUNTIME in System32, by name.
        copies: copies of STANDARD_LIBRARY that this Python loads first, by path.
        openmp: whether torch can find OPENMP or does not need it. The fbgemm.dll of some releases imports it.
    """

    system: dict[str, Reading[Binary]]
    copies: dict[str, Reading[Binary]]
    openmp: Reading[bool]


def _openmp(host: Reader, system: str) -> Reading[bool]:
    torch = host.distribution("torch")
    if not isinstance(torch, Found):
        return Found(True)
    libraries = join(host, torch.value.location, "torch", "lib")
    fbgemm = host.binary(join(host, libraries, "fbgemm.dll"))
    if not isinstance(fbgemm, Found) or OPENMP not in fbgemm.value.imports:
        return Found(True)
    copies = [host.binary(join(host, folder, OPENMP)) for folder in (libraries, system)]
    if any(isinstance(copy, Found) for copy in copies):
        return Found(True)
    return next((copy for copy in copies if isinstance(copy, Unreadable)), Found(False))


def _vc_runtime(host: Reader) -> VcRuntimeFacts:
    system = system32(host)
    beside = (host.identity.base_prefix, join(host, host.identity.base_prefix, "Library", "bin"))
    copies = [join(host, folder, STANDARD_LIBRARY) for folder in beside]
    return VcRuntimeFacts(
        system={name: host.binary(join(host, system, name)) for name in RUNTIME},
        copies={path: host.binary(path) for path in copies},
        openmp=_openmp(host, system),
    )


VC_RUNTIME = Probe("vc-runtime", _vc_runtime)
