"""The capability file: what each attention backend can do on this machine, proven by running it there.

The doctor writes it, the trainer reads it. It is the only part of the doctor that the trainer imports.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doctor.host import Frozen

Backend = Literal["flash_attn_2", "xformers", "sdpa", "manual"]
BACKENDS: tuple[Backend, ...] = (
    "flash_attn_2",
    "xformers",
    "sdpa",
    "manual",
)  # fastest first: the fallback chain


class Fingerprint(Frozen):
    """What the proofs depend on. Where it differs from what is installed now, the file is stale."""

    python: str
    platform: str
    torch: str | None
    cuda: str | None
    driver: str | None
    flash_attn: str | None
    xformers: str | None
    triton: str | None
    gpus: tuple[str, ...]


class Device(Frozen):
    """A device that torch could compute on. `compute_capability` is None for the CPU."""

    type: Literal["cuda", "cpu"]
    index: int
    name: str
    compute_capability: tuple[int, int] | None
    total_memory_bytes: int


class Features(Frozen):
    window: bool
    packed: bool
    gqa: bool
    dropout: bool


class ProofEvidence(Frozen):
    """Largest errors against a float64 reference, over all devices and dtypes; the time of one forward and backward."""

    forward_error: float
    backward_error: float
    window_support_exact: bool
    milliseconds: float


class BackendCapability(Frozen):
    """What one backend can do here. `available` means: it ran here and agreed with the reference."""

    status: Literal["available", "unavailable", "unknown"]
    version: str | None = None
    reasons: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()  # "cpu", "cuda:0"
    dtypes: tuple[str, ...] = ()  # "float32", "float16", "bfloat16"
    max_head_dim: int | None = None
    features: Features | None = None
    evidence: ProofEvidence | None = None
    implementations: tuple[str, ...] = ()


class Capability(Frozen):
    """The whole file."""

    schema_version: Literal[1] = 1
    written_at: str = Field(description="RFC 3339, UTC")
    aios_version: str
    fingerprint: Fingerprint
    devices: tuple[Device, ...]
    backends: dict[Backend, BackendCapability]
    recommended: dict[str, Backend]
