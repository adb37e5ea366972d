"""Texts, commands and evidence that several checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from doctor.host import Found, Identity, Reading, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, JsonValue
from doctor.probes.packages import TorchFacts
from doctor.quoting import quoted
from wheels.machine import TorchBuild

Value = TypeVar("Value")
PYTORCH = "https://pytorch.org/get-started/locally/"
NVIDIA_DRIVERS = "https://www.nvidia.com/drivers"


def skipped(check: str, reason: str) -> Finding:
    return Finding(check=check, status="skipped", summary=f"Does not apply: {reason}")


def could_not_look(check: str, at: str, reason: str, hint: str = "") -> Finding:
    summary = f"Could not check {at}: {reason}"
    return Finding(check=check, status="unknown", summary=summary, measured=reason, hint=hint)


def cannot_tell(check: str, what: str, reason: str, hint: str = "") -> Finding:
    """A fact that the judgement needs could not be read."""
    summary = f"Cannot tell {what}: {reason}"
    return Finding(check=check, status="unknown", summary=summary, measured=reason, hint=hint)


def why_not(reading: Reading[Any], absent: str = "it does not exist") -> str:
    """Return why a reading has no value, as a clause; `absent` is the clause for one that is Absent."""
    return reading.reason if isinstance(reading, Unreadable) else absent


def value_of(reading: Reading[Value]) -> Value:
    """Return the value of a reading that the check requires to be present. Raises LookupError."""
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
    """Return the first `most` names: "a, b and 3 more packages"."""
    more = f" and {len(names) - most} more {what}".rstrip() if len(names) > most else ""
    return ", ".join(names[:most]) + more


def places_searched(dlls: Sequence[str]) -> str:
    """Return the missing DLLs and the places that were searched."""
    return f"{', '.join(dlls)}: not in torch\\lib, not in System32, not beside python.exe"


def registry_evidence(key: str, name: str, reading: Reading[RegistryValue]) -> Evidence:
    return Evidence(source="registry", name=f"{key}\\{name}", value=shown(reading))


def shown(reading: Reading[RegistryValue]) -> JsonValue:
    """Return a registry value as evidence; None if it is absent."""
    if isinstance(reading, Found):
        value = reading.value.value
        return list(value) if isinstance(value, tuple) else value
    return f"unreadable: {reading.reason}" if isinstance(reading, Unreadable) else None


def torch_is(torch: TorchFacts) -> TorchBuild | None:
    """Return the installed torch; None if its build is not known (`why_torch_is_unknown`)."""
    return torch.build.value if isinstance(torch.build, Found) else None


def why_torch_is_unknown(torch: TorchFacts) -> str:
    return torch.build.reason if isinstance(torch.build, Unreadable) else "torch/version.py is missing"


def _a_python(identity: Identity) -> str:
    """Return how a terminal starts a Python that can run pip.

    On Windows the first one on PATH: cmd and PowerShell call a program whose path has a space in different ways. On Linux
    this one: the system's Python refuses to install packages.
    """
    return "python" if identity.os == "windows" else path_of(identity, identity.executable)


def for_this_python(identity: Identity, tool: str, arguments: str) -> str:
    """Return a command of `tool` ("pip", "uv pip install") for this Python, whichever Python the terminal finds."""
    return f"{_a_python(identity)} -m {tool} --python {path_of(identity, identity.executable)} {arguments}"


def path_of(identity: Identity, path: str) -> str:
    """Return a path, or another word, quoted for the shells of a machine."""
    return quoted(path, windows=identity.os == "windows")


def pip_install(identity: Identity, wanted: Mapping[str, str]) -> str:
    """Return the command that installs packages. `wanted`: the version specifier by name, "" for any version."""
    packages = " ".join(f'"{name}{specifier}"' for name, specifier in wanted.items())
    return for_this_python(identity, "pip", f"install {packages}")
