"""What each attention backend can do here. Each is run in a child process of its own, so a crash affects that one only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Frozen, Reader, Unreadable
from doctor.host.completed import exit_code, last_error_line
from doctor.proofs import BACKENDS, BackendCapability, BackendName, Device

TIMEOUT = 120.0
PACKAGES: dict[BackendName, str] = {"flash_attn_2": "flash-attn", "xformers": "xformers"}


@dataclass(frozen=True)
class BackendFacts:
    """What running one backend showed.

    Attributes:
        capability: what it can do here.
        devices: the devices that torch sees; empty if the child process gave no result.
        installed: whether the backend's package is installed.
    """

    capability: BackendCapability
    devices: tuple[Device, ...] = ()
    installed: bool = True


class _Answer(Frozen):
    """The last line of the child's output."""

    backend: BackendCapability
    devices: tuple[Device, ...]


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
    return BackendFacts(answer.backend, answer.devices)


def _prove(backend: BackendName) -> Callable[[Reader], BackendFacts]:
    def prove(host: Reader) -> BackendFacts:
        for package in ("torch", PACKAGES.get(backend)):
            if package and isinstance(host.distribution(package), Absent):
                missing = _without_proof("unavailable", f"{package} package not installed")
                return replace(missing, installed=False)
        ran = host.run(
            [host.identity.executable, "-m", "trainer.attention.prove", backend],
            timeout=TIMEOUT,
            environment={"PYTHONSAFEPATH": "1"},
        )
        if isinstance(ran, Found):
            return parse_proof(ran.value)
        reason = ran.reason if isinstance(ran, Unreadable) else "this Python could not be started"
        return _without_proof("unknown", reason)

    return prove


BACKEND_PROBES: dict[BackendName, Probe[BackendFacts]] = {
    backend: Probe(f"backend:{backend}", _prove(backend), timeout=TIMEOUT + 10.0) for backend in BACKENDS
}
