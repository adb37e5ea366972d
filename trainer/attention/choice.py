"""Which backend runs: a pure decision over what is asked and what was proven on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from doctor.capability import BACKENDS, Backend, BackendCapability, Capability
from trainer.attention import flash_attn_2, manual, sdpa, xformers
from trainer.attention.request import AttentionRequest

MODULES: dict[str, ModuleType] = {
    "flash_attn_2": flash_attn_2,
    "xformers": xformers,
    "sdpa": sdpa,
    "manual": manual,
}
LABELS: dict[Backend, str] = {
    "flash_attn_2": "FlashAttention-2 (explicit, fastest)",
    "xformers": "xformers (memory-efficient attention)",
    "sdpa": "PyTorch SDPA",
    "manual": "manual (explicit softmax, for reading and debugging)",
}


@dataclass(frozen=True)
class Decision:
    """The backend that runs, what was asked for, and why each one tried before it does not run."""

    backend: Backend
    requested: str
    label: str
    rejections: tuple[tuple[Backend, tuple[str, ...]], ...] = ()

    @property
    def fell_back(self) -> bool:
        """Was a backend asked for by name that cannot be had?"""
        return self.requested not in ("auto", self.backend)

    def log_lines(self) -> list[str]:
        """What a person reads, once a run."""
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
        """As a record for the metrics file."""
        return {
            "backend": self.backend,
            "requested": self.requested,
            "rejections": [
                {"backend": backend, "reasons": list(reasons)} for backend, reasons in self.rejections
            ],
        }


def decide(requested: str, request: AttentionRequest, capability: Capability | None) -> Decision:
    """The first backend, from the requested one on, that was proven here and serves this request.

    Args:
        requested: "auto" for the whole chain, or the backend to begin with; those before it are not tried.
        request: what is asked.
        capability: what was proven on this machine; None where nothing is known: then third-party packages count as
            unproven, and sdpa and manual as what torch brings.

    Raises:
        ValueError: an unknown name.
    """
    if requested != "auto" and requested not in BACKENDS:
        raise ValueError(f"unknown attention backend {requested!r}; one of auto, {', '.join(BACKENDS)}")
    chain = BACKENDS if requested == "auto" else BACKENDS[BACKENDS.index(requested) :]
    rejections: list[tuple[Backend, tuple[str, ...]]] = []
    for backend in chain[:-1]:
        reasons = _reasons(backend, request, capability)
        if not reasons:
            return Decision(backend, requested, _label(backend, request), tuple(rejections))
        rejections.append((backend, reasons))
    return Decision(chain[-1], requested, LABELS[chain[-1]], tuple(rejections))  # manual always works


def _reasons(backend: Backend, request: AttentionRequest, capability: Capability | None) -> tuple[str, ...]:
    limits: list[str] = MODULES[backend].reasons_against(request)
    if capability is None:
        unproven = (
            [] if backend in ("sdpa", "manual") else ["not proven on this machine; `aios doctor` does that"]
        )
        return tuple(limits + unproven)
    proven = capability.backends.get(backend)
    if proven is None:
        return ("the capability file does not mention it",)
    if proven.status != "available":
        return proven.reasons or (f"{proven.status} here; `aios doctor` says why",)
    return tuple(limits or _beyond(proven, request))


def _beyond(proven: BackendCapability, request: AttentionRequest) -> list[str]:
    """What the request needs beyond what was proven here."""
    device = "cuda:0" if request.device == "cuda" else request.device
    reasons = []
    if device not in proven.devices:
        reasons.append(f"not proven on {device}, only on {', '.join(proven.devices)}")
    if request.dtype not in proven.dtypes:
        reasons.append(f"not proven in {request.dtype}, only in {', '.join(proven.dtypes)}")
    if proven.max_head_dim is not None and request.head_dim > proven.max_head_dim:
        reasons.append(f"serves heads up to {proven.max_head_dim} wide, not {request.head_dim}")
    needs = {
        "window": request.window is not None,
        "packed": request.packed,
        "gqa": request.query_heads != request.key_heads,
        "dropout": request.dropout > 0,
    }
    features = {} if proven.features is None else proven.features.model_dump()
    reasons += [
        f"failed its proof with {name}" for name, need in needs.items() if need and not features.get(name)
    ]
    return reasons


def _label(backend: Backend, request: AttentionRequest) -> str:
    if backend != "sdpa":
        return LABELS[backend]
    if request.window is not None or request.packed:
        return f"PyTorch SDPA ({'sliding window' if request.window is not None else 'packed documents'})"
    half_on_gpu = request.device.startswith("cuda") and request.dtype != "float32"
    return "PyTorch SDPA (FlashAttention-1, standard)" if half_on_gpu else "PyTorch SDPA (standard)"
