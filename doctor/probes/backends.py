"""What each attention backend can do here, by running it: one child process each, so that a crash costs one only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ValidationError

from doctor.check import Probe
from doctor.host import Absent, Completed, Found, Frozen, Host, Unreadable
from doctor.host.completed import exit_code, last_words
from doctor.proofs import BACKENDS, BackendCapability, BackendName, Device

TIMEOUT = 120.0
PACKAGES: dict[BackendName, str] = {"flash_attn_2": "flash-attn", "xformers": "xformers"}


@dataclass(frozen=True)
class BackendFacts:
    """`devices` are those that torch sees; none where no child answered. `installed`: is its own package there?"""

    capability: BackendCapability
    devices: tuple[Device, ...] = ()
    installed: bool = True


class _Answer(Frozen):
    """The last line that the child prints."""

    backend: BackendCapability
    devices: tuple[Device, ...]


def _without_proof(status: Literal["unavailable", "unknown"], reason: str) -> BackendFacts:
    return BackendFacts(BackendCapability(status=status, reasons=(reason,)))


def parse_proof(completed: Completed) -> BackendFacts:
    """What the child that tried the backend said, or how it ended."""
    if completed.exit_code != 0:
        ended = f"trying it ended with exit code {exit_code(completed)}"
        return _without_proof("unavailable", ": ".join(filter(None, (ended, last_words(completed)))))
    *_, last = completed.stdout.strip().splitlines() or [""]
    try:
        answer = _Answer.model_validate_json(last)
    except ValidationError:
        reason = f"the process that tries it printed {last[:80]!r} instead of its result"
        return _without_proof("unknown", reason)
    return BackendFacts(answer.backend, answer.devices)


def _prove(backend: BackendName) -> Callable[[Host], BackendFacts]:
    def prove(host: Host) -> BackendFacts:
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
        reason = ran.reason if isinstance(ran, Unreadable) else "this Python cannot be started"
        return _without_proof("unknown", reason)

    return prove


BACKEND_PROBES: dict[BackendName, Probe[BackendFacts]] = {
    backend: Probe(f"backend:{backend}", _prove(backend), timeout=TIMEOUT + 10.0) for backend in BACKENDS
}
