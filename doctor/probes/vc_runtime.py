"""Microsoft's C++ runtime: the libraries that Windows keeps, and copies that a Python brings and that win over them."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Binary, Found, Host, Reading, Unreadable
from doctor.probes.paths import join, system32

RUNTIME = ("vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll")
STANDARD_LIBRARY = "msvcp140.dll"
OPENMP = "libomp140.x86_64.dll"


@dataclass(frozen=True)
class VcRuntimeFacts:
    """`system`: RUNTIME in Windows' own folder, by name. `copies` of STANDARD_LIBRARY that this Python loads first.

    `openmp`: is OPENMP where torch finds it, or not needed? Some releases link it with their fbgemm.dll.
    """

    system: dict[str, Reading[Binary]]
    copies: dict[str, Reading[Binary]]
    openmp: Reading[bool]


def _openmp(host: Host, system: str) -> Reading[bool]:
    torch = host.distribution("torch")
    if not isinstance(torch, Found):
        return Found(True)
    libraries = join(host, torch.value.location, "torch", "lib")
    fbgemm = host.binary(join(host, libraries, "fbgemm.dll"))
    if not isinstance(fbgemm, Found) or OPENMP not in fbgemm.value.imports:
        return Found(True)
    places = [host.binary(join(host, folder, OPENMP)) for folder in (libraries, system)]
    if any(isinstance(place, Found) for place in places):
        return Found(True)
    return next((place for place in places if isinstance(place, Unreadable)), Found(False))


def _vc_runtime(host: Host) -> VcRuntimeFacts:
    system = system32(host)
    beside = (host.identity.base_prefix, join(host, host.identity.base_prefix, "Library", "bin"))
    copies = [join(host, folder, STANDARD_LIBRARY) for folder in beside]
    return VcRuntimeFacts(
        system={name: host.binary(join(host, system, name)) for name in RUNTIME},
        copies={path: host.binary(path) for path in copies},
        openmp=_openmp(host, system),
    )


VC_RUNTIME = Probe("vc-runtime", _vc_runtime)
