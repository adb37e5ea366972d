"""What each attention backend can do here. Each is run in a child process of its own, so a crash affects that one only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Frozen, Identity, Reader, Unreadable
from doctor.host.completed import exit_code, last_error_line
from doctor.proofs import (
    BACKENDS,
    NO_HUB_KERNELS_ON_WINDOWS,
    PROVE_ELSEWHERE,
    BackendCapability,
    BackendName,
    Device,
)

TIMEOUT = 120.0
OLDEST = (3, 10)  # that the attention code runs on
# Kernels that are compiled at run time, for each option and number format of the proof
COMPILING_TIMEOUT = 480.0
TIMEOUTS: dict[BackendName, float] = {"flash_attn_4": COMPILING_TIMEOUT}
PACKAGES: dict[BackendName, str] = {
    "flash_attn_2": "flash-attn",
    "flash_attn_4": "flash-attn-4",
    "hub_kernels": "kernels",
    "xformers": "xformers",
}


@dataclass(frozen=True)
class BackendFacts:
    """What running one backend showed.

    Attributes:
        capability: what it can do here.
        devices: the devices that torch sees; empty if the child process gave no result.
        installed: whether the backend's package is installed, with what it needs to be tried.
    """

    capability: BackendCapability
    devices: tuple[Device, ...] = ()
    installed: bool = True


class _Answer(Frozen):
    """The last line of the child's output."""

    backend: BackendCapability
    devices: tuple[Device, ...]
    installed: bool = True


def _without_proof(status: Literal["unavailable", "unknown"], reason: str) -> BackendFacts:
    return BackendFacts(BackendCapability(status=status, reasons=(reason,)))


def parse_proof(completed: Completed) -> BackendFacts:
    """The facts in the output of a finished child process, or why it produced none."""
    if completed.exit_code != 0:
        ended = f"the trial run ended with exit code {exit_code(completed)}"
        return _without_proof("unavailable", ": ".join(filter(None, (ended, last_error_line(completed)))))
    *_, last = completed.stdout.strip().splitlines() or [""]
    try:
        answer = _Answer.model_validate_json(last)
    except ValidationError:
        reason = f"the trial run printed {last[:80]!r} instead of a result"
        return _without_proof("unknown", reason)
    return BackendFacts(answer.backend, answer.devices, answer.installed)


def _lacking(host: Reader, backend: BackendName) -> str | None:
    """Why there is nothing to run, as far as metadata tells."""
    absent = [
        f"{package} package not installed"
        for package in ("torch", PACKAGES.get(backend))
        if package and isinstance(host.distribution(package), Absent)
    ]
    if backend == "hub_kernels" and host.identity.os == "windows":
        absent.insert("torch package not installed" in absent, NO_HUB_KERNELS_ON_WINDOWS)
    return absent[0] if absent else None


def _prove(backend: BackendName) -> Callable[[Reader], BackendFacts]:
    def prove(host: Reader) -> BackendFacts:
        lacking = _lacking(host, backend)
        if lacking:
            return replace(_without_proof("unavailable", lacking), installed=False)
        if host.identity.other_python and version_of(host.identity) < OLDEST:
            reason = f"aios' attention code needs Python 3.{OLDEST[1]} or newer, and this is {host.identity.python}"
            return _without_proof("unknown", reason)
        ran = host.run(
            _command(host, backend),
            timeout=TIMEOUTS.get(backend, TIMEOUT),
            environment={"PYTHONSAFEPATH": "1"},
        )
        if isinstance(ran, Found):
            return parse_proof(ran.value)
        reason = ran.reason if isinstance(ran, Unreadable) else "this Python could not be started"
        return _without_proof("unknown", reason)

    return prove


def version_of(identity: Identity) -> tuple[int, ...]:
    """ "3.12.4" -> (3, 12)."""
    return tuple(int(part) for part in identity.python_minor.split(".") if part.isdecimal())


def _command(host: Reader, backend: BackendName) -> list[str]:
    """The command line of a trial run. Another Python runs it without aios being installed there."""
    python = host.identity.executable
    if host.identity.other_python:
        return [python, "-I", "-S", "-B", PROVE_ELSEWHERE, backend]
    return [python, "-m", "trainer.attention.prove", backend]


BACKEND_PROBES: dict[BackendName, Probe[BackendFacts]] = {
    backend: Probe(f"backend:{backend}", _prove(backend), timeout=TIMEOUTS.get(backend, TIMEOUT) + 10.0)
    for backend in BACKENDS
}
