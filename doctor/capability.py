"""The capability file: what each attention backend can do on this machine, as shown by running it.

The doctor writes the file and the trainer reads it. The trainer imports no other module of the doctor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from doctor.aios_home import environment_folder
from doctor.bounded import read_bytes
from doctor.files import write_atomically
from doctor.host import Distribution, Found, Frozen, Reader, Reading
from doctor.host.live import live_host
from doctor.ownership import Mark, require_ours
from doctor.probes.packages import TORCH
from doctor.proofs import (
    BACKENDS,
    NO_HUB_KERNELS_ON_WINDOWS,
    BackendCapability,
    BackendName,
    Device,
    Features,
    ProofEvidence,
)

__all__ = [
    "BACKENDS",
    "NO_HUB_KERNELS_ON_WINDOWS",
    "BackendCapability",
    "BackendName",
    "Capability",
    "CapabilityProblem",
    "Device",
    "Features",
    "Fingerprint",
    "ProofEvidence",
    "current_fingerprint",
    "default_path",
    "fingerprint",
    "read",
    "stale",
    "write",
]


class Fingerprint(Frozen):
    """The versions that the results depend on. If any of them has changed, the file is stale."""

    python: str
    platform: str
    torch: str | None
    cuda: str | None
    driver: str | None
    flash_attn: str | None
    flash_attn_4: str | None = None
    kernels: str | None = None
    xformers: str | None
    triton: str | None
    gpus: tuple[str, ...]


class Capability(Frozen):
    """The content of the file."""

    schema_version: Literal[1] = 1
    written_at: str = Field(description="RFC 3339, UTC")
    aios_version: str
    fingerprint: Fingerprint
    devices: tuple[Device, ...]
    backends: dict[BackendName, BackendCapability]
    recommended: dict[str, BackendName]


MARK = Mark("a capability file of aios", lambda head: b'"schema_version"' in head[:100])


@dataclass(frozen=True)
class CapabilityProblem:
    """Why a capability file cannot be used. `reason` is a clause that follows the file's name."""

    reason: str


def default_path(explicit: Path | None = None, host: Reader | None = None) -> Path:
    """Return the path of the file: `explicit`, else `AIOS_CAPABILITY_FILE`, else in the state folder.

    That of another Python has a folder of its own and is never the one that the trainer reads.
    """
    host = host or live_host()
    named = explicit or (None if host.identity.other_python else host.variable("AIOS_CAPABILITY_FILE"))
    return Path(named) if named else _own_path(host)


def _own_path(host: Reader) -> Path:
    return environment_folder(host) / "capability.json"


def write(path: Path, capability: Capability, host: Reader | None = None) -> None:
    """Write the file atomically. What is in its place in the state folder of `host` is replaced, even if it is damaged.

    Raises:
        ForeignFileError: the path is a file of something else.
        OSError: the file cannot be written.
    """
    if path != _own_path(host or live_host()):
        require_ours(path, MARK)
    write_atomically(path, (capability.model_dump_json(indent=2) + "\n").encode())


def read(path: Path) -> Capability | CapabilityProblem:
    """Return the content of the file, or why it cannot be used. Never raises."""
    try:
        capability = Capability.model_validate_json(read_bytes(path))
    except FileNotFoundError:
        return CapabilityProblem("does not exist: run `aios doctor` to write it")
    except OSError as error:
        return CapabilityProblem(f"cannot be read ({error.strerror or error})")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if where == "schema_version":
            return CapabilityProblem(f"has schema version {first['input']}, but this aios reads version 1")
        return CapabilityProblem(f"is damaged ({where + ': ' if where else ''}{first['msg']})")
    missing = [backend for backend in BACKENDS if backend not in capability.backends]
    return CapabilityProblem(f"has no entry for {', '.join(missing)}") if missing else capability


def fingerprint(host: Reader) -> Fingerprint:
    """Return what is installed on `host` now, from metadata and the driver. Nothing is imported."""
    torch = TORCH.collect(host)
    build = torch.build.value if isinstance(torch.build, Found) else None
    nvidia = host.nvml()
    driver = nvidia.value if isinstance(nvidia, Found) else None
    return Fingerprint(
        python=host.identity.python,
        platform=host.identity.python_platform,
        torch=str(build.version) if build else _version(torch.distribution),
        cuda=build.cuda_version if build else None,
        driver=driver.driver_version if driver else None,
        flash_attn=_version(host.distribution("flash-attn")),
        flash_attn_4=_version(host.distribution("flash-attn-4")),
        kernels=_version(host.distribution("kernels")),
        xformers=_version(host.distribution("xformers")),
        triton=_version(host.distribution("triton")) or _version(host.distribution("triton-windows")),
        gpus=tuple(gpu.name for gpu in driver.gpus) if driver else (),
    )


def current_fingerprint() -> Fingerprint:
    """Return what is installed on this machine now."""
    return fingerprint(live_host())


def stale(capability: Capability, now: Fingerprint) -> str | None:
    """Return what has changed since the file was written, as a clause; None if nothing has."""
    return "; ".join(_changes(capability.fingerprint, now)) or None


def _changes(then: Fingerprint, now: Fingerprint) -> Iterator[str]:
    for name in Fingerprint.model_fields:
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            yield f"{name} was {_shown(before)} and is now {_shown(after)}"


def _shown(value: str | tuple[str, ...] | None) -> str:
    return (", ".join(value) if isinstance(value, tuple) else value) or "absent"


def _version(reading: Reading[Distribution]) -> str | None:
    return reading.value.version if isinstance(reading, Found) else None
