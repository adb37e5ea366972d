"""Choosing the backend: a pure decision from the request and from what was proven on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from doctor.capability import BackendCapability, BackendName, Capability
from trainer.attention.backend import Backend
from trainer.attention.flash_attn_2 import FLASH_ATTN_2
from trainer.attention.flash_attn_4 import FLASH_ATTN_4
from trainer.attention.hub_kernels import HUB_KERNELS
from trainer.attention.manual import MANUAL
from trainer.attention.request import AttentionRequest
from trainer.attention.sdpa import SDPA
from trainer.attention.xformers import XFORMERS

# The fallback chain, fastest first. The last one serves every request.
BACKENDS: tuple[Backend, ...] = (
    FLASH_ATTN_2,
    FLASH_ATTN_4,
    HUB_KERNELS,
    XFORMERS,
    SDPA,
    MANUAL,
)


@dataclass(frozen=True)
class Decision:
    """The backend that runs, the one that was requested, and why each one tried before does not run."""

    backend: BackendName
    requested: str
    label: str
    rejections: tuple[tuple[BackendName, tuple[str, ...]], ...] = ()

    @property
    def fell_back(self) -> bool:
        """Whether a backend was requested by name and another one runs."""
        return self.requested not in ("auto", self.backend)

    def log_lines(self) -> list[str]:
        """The lines that are printed once per run."""
        lines = []
        for backend, reasons in self.rejections:
            because = "; ".join(reasons)
            if backend == self.requested:
                lines.append(
                    f"WARNING: {backend} requested but {because}. Falling back to '{self.backend}' ({self.label})"
                )
            else:
                lines.append(f"INFO: {backend} not used: {because}")
        return [*lines, f"INFO: Attention backend: {self.label}"]

    def to_json(self) -> dict[str, Any]:
        """The decision as a record of the metrics file."""
        return {
            "backend": self.backend,
            "requested": self.requested,
            "rejections": [
                {"backend": backend, "reasons": list(reasons)} for backend, reasons in self.rejections
            ],
        }


def backend_named(name: str) -> Backend:
    """The backend of this name. Raises ValueError if there is none."""
    for backend in BACKENDS:
        if backend.name == name:
            return backend
    names = ", ".join(backend.name for backend in BACKENDS)
    raise ValueError(f"unknown attention backend {name!r}; one of auto, {names}")


def decide(requested: str, request: AttentionRequest, capability: Capability | None) -> Decision:
    """The first backend, from the requested one on, that was proven here and serves this request.

    Args:
        requested: "auto" for the whole chain, or the backend to begin with; those before it are not tried.
        request: the attention calls to come.
        capability: what was proven on this machine. None if nothing is known: third-party packages then count as
            unproven, and backends that come with torch as proven.

    Raises:
        ValueError: an unknown name.
    """
    first = 0 if requested == "auto" else BACKENDS.index(backend_named(requested))
    *chain, last = BACKENDS[first:]
    rejections: list[tuple[BackendName, tuple[str, ...]]] = []
    for backend in chain:
        reasons = _reasons(backend, request, capability)
        if not reasons:
            return Decision(backend.name, requested, backend.label(request), tuple(rejections))
        rejections.append((backend.name, reasons))
    return Decision(last.name, requested, last.label(request), tuple(rejections))


def _reasons(backend: Backend, request: AttentionRequest, capability: Capability | None) -> tuple[str, ...]:
    reasons = backend.reasons_against(request)
    if capability is None:
        if backend.distribution != "torch":
            reasons.append("not proven on this machine; run `aios doctor`")
        return tuple(reasons)
    proven = capability.backends.get(backend.name)
    if proven is None:
        return ("the capability file does not mention it",)
    if proven.status != "available":
        return proven.reasons or (f"{proven.status} here; `aios doctor` shows why",)
    return tuple(reasons or _unproven(proven, request))


def _unproven(proven: BackendCapability, request: AttentionRequest) -> list[str]:
    """What the request needs and the proof on this machine does not cover."""
    device = "cuda:0" if request.device == "cuda" else request.device
    reasons = []
    if device not in proven.devices:
        reasons.append(f"not proven on {device}, only on {', '.join(proven.devices)}")
    if request.dtype not in proven.dtypes:
        reasons.append(f"not proven in {request.dtype}, only in {', '.join(proven.dtypes)}")
    if proven.max_head_dim is not None and request.head_dim > proven.max_head_dim:
        reasons.append(f"supports head dimensions up to {proven.max_head_dim}, not {request.head_dim}")
    needed = {
        "window": request.window is not None,
        "packed": request.packed,
        "gqa": request.query_heads != request.key_heads,
        "dropout": request.dropout > 0,
    }
    features = {} if proven.features is None else proven.features.model_dump()
    reasons += [
        f"failed its proof with {name}" for name, used in needed.items() if used and not features.get(name)
    ]
    return reasons
