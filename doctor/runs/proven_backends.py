"""The capability of this machine, from what the proofs of its attention backends showed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from doctor.capability import Capability, Fingerprint
from doctor.diagnosis import ProbeFailure
from doctor.probes.backends import BACKEND_PROBES, BackendFacts
from doctor.proofs import BACKENDS, BackendCapability, BackendName, Device
from doctor.runs.make_report import rfc_3339
from doctor.version import aios_version


def has_all_proofs(facts: Mapping[str, Any]) -> bool:
    """Whether the diagnosis that gave `facts` tried all backends."""
    return all(probe.name in facts for probe in BACKEND_PROBES.values())


def proven_capability(facts: Mapping[str, Any], fingerprint: Fingerprint, now: datetime) -> Capability:
    """Assemble the capability from the facts of a diagnosis. A backend whose proof failed to finish is `unknown`.

    `now` is in UTC.
    """
    proven = {backend: _proven(facts[BACKEND_PROBES[backend].name]) for backend in BACKENDS}
    devices = tuple(dict.fromkeys(device for proof in proven.values() for device in proof.devices))
    backends = {backend: proof.capability for backend, proof in proven.items()}
    return Capability(
        written_at=rfc_3339(now),
        aios_version=aios_version(),
        fingerprint=fingerprint,
        devices=devices,
        backends=backends,
        recommended=_recommended(devices, backends),
    )


def _proven(proof: BackendFacts | ProbeFailure) -> BackendFacts:
    if isinstance(proof, BackendFacts):
        return proof
    return BackendFacts(BackendCapability(status="unknown", reasons=(proof.reason,)))


def _recommended(
    devices: tuple[Device, ...], backends: Mapping[BackendName, BackendCapability]
) -> dict[str, BackendName]:
    """For each device, the first backend, in the order of BACKENDS, that ran on it."""
    recommended: dict[str, BackendName] = {}
    for device in devices:
        name = "cpu" if device.type == "cpu" else f"{device.type}:{device.index}"
        for backend in BACKENDS:
            if backends[backend].status == "available" and name in backends[backend].devices:
                recommended[name] = backend
                break
    return recommended
