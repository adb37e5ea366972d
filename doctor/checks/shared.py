"""What several checks say in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from doctor.host import Found, Identity, Reading, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, FindingChanges, JsonValue
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.packages import TorchFacts
from doctor.probes.site_packages import SitePackages
from wheels.machine import TorchBuild

Value = TypeVar("Value")
PYTORCH = "https://pytorch.org/get-started/locally/"
NVIDIA_DRIVERS = "https://www.nvidia.com/drivers"
# Changes to a finding that needs no action
NO_ADVICE: FindingChanges = {"impact": "", "hint": "", "links": (), "fix": None}


def skipped(check: str, reason: str) -> Finding:
    return Finding(check=check, status="skipped", summary=f"Does not apply: {reason}")


def could_not_look(check: str, at: str, reason: str, hint: str = "") -> Finding:
    summary = f"Could not check {at}: {reason}"
    return Finding(check=check, status="unknown", summary=summary, measured=reason, hint=hint)


def cannot_tell(check: str, what: str, reason: str, hint: str = "") -> Finding:
    """Something that it takes for this judgement could not be seen."""
    summary = f"Cannot tell {what}: {reason}"
    return Finding(check=check, status="unknown", summary=summary, measured=reason, hint=hint)


def why_not(reading: Reading[Any], absent: str = "it is not there") -> str:
    """Why there is nothing to judge, as a clause; `absent` is what to say where there is nothing at all."""
    return reading.reason if isinstance(reading, Unreadable) else absent


def value_of(reading: Reading[Value]) -> Value:
    """The value of a reading that the check requires to be present. Raises LookupError."""
    if isinstance(reading, Found):
        return reading.value
    raise LookupError(f"required, but not found: {reading}")


def required(value: Value | None) -> Value:
    """The value, which the check's requirements guarantee. Raises LookupError."""
    if value is None:
        raise LookupError("required, but missing")
    return value


def dotted(version: tuple[int, int]) -> str:
    """(12, 8) -> "12.8"."""
    return "{}.{}".format(*version)


def several(names: Sequence[str], most: int, what: str = "") -> str:
    """The first names: "a, b and 3 more packages"."""
    more = f" and {len(names) - most} more {what}".rstrip() if len(names) > most else ""
    return ", ".join(names[:most]) + more


def places_searched(dlls: Sequence[str]) -> str:
    """The DLLs that a compiled module needs, and where they are not."""
    return f"{', '.join(dlls)}: not in torch\\lib, not in System32, not beside python.exe"


def registry_evidence(key: str, name: str, reading: Reading[RegistryValue]) -> Evidence:
    return Evidence(source="registry", name=f"{key}\\{name}", value=shown(reading))


def shown(reading: Reading[RegistryValue]) -> JsonValue:
    """A registry value as evidence: null where it is absent."""
    if isinstance(reading, Found):
        value = reading.value.value
        return list(value) if isinstance(value, tuple) else value
    return f"unreadable: {reading.reason}" if isinstance(reading, Unreadable) else None


def skipped_without_nvidia(check: str, nvidia: NvidiaFacts) -> Finding | None:
    """Most of CUDA does not apply where there is no NVIDIA GPU."""
    return skipped(check, "there is no NVIDIA GPU") if nvidia.has_gpu is False else None


def skipped_without_torch(check: str, torch: TorchFacts) -> Finding | None:
    return None if torch.installed else skipped(check, "torch is not installed")


def skipped_as_damaged(check: str, site: Reading[SitePackages], package: str | None) -> Finding | None:
    """A package of which a part is missing is broken-distributions' to name."""
    damaged = isinstance(site, Found) and any(each.package == package for each in site.value.damaged)
    return skipped(check, f"{package} is only half installed (see broken-distributions)") if damaged else None


def torch_is(torch: TorchFacts) -> TorchBuild | None:
    """Return the installed torch; None: it cannot be told (`why_torch_is_unknown`)."""
    return torch.build.value if isinstance(torch.build, Found) else None


def why_torch_is_unknown(torch: TorchFacts) -> str:
    return torch.build.reason if isinstance(torch.build, Unreadable) else "torch/version.py is missing"


def _a_python(identity: Identity) -> str:
    """How a terminal calls a Python that may install pip packages.

    cmd and PowerShell agree on no way to call a program whose path holds a space; a Linux system's Python refuses.
    """
    return "python" if identity.os == "windows" else f'"{identity.executable}"'


def for_this_python(identity: Identity, tool: str, arguments: str) -> str:
    """The command of `tool` ("pip", "uv pip install") that serves this Python, whichever one the terminal finds."""
    return f'{_a_python(identity)} -m {tool} --python "{identity.executable}" {arguments}'


def pip_install(identity: Identity, wanted: Mapping[str, str]) -> str:
    """The command that installs packages: name -> version specifier, "" for any."""
    packages = " ".join(f'"{name}{specifier}"' for name, specifier in wanted.items())
    return for_this_python(identity, "pip", f"install {packages}")
