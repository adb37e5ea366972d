"""What a trial run of an attention backend showed, and on which devices."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from doctor.host import Frozen

BackendName = Literal["flash_attn_2", "flash_attn_4", "hub_kernels", "xformers", "sdpa", "manual"]
# The program that tries a backend in a Python in which aios is not installed
PROVE_ELSEWHERE = str(Path(__file__).parents[1] / "trainer" / "attention" / "prove_elsewhere.py")
# The order in which training falls back, fastest first
BACKENDS: tuple[BackendName, ...] = (
    "flash_attn_2",
    "flash_attn_4",
    "hub_kernels",
    "xformers",
    "sdpa",
    "manual",
)
# kernels-community builds nothing but `relu` and `activation` for Windows (read on 2026-11-30).
NO_HUB_KERNELS_ON_WINDOWS = (
    "Hugging Face publishes no attention kernels for Windows; use WSL, or another backend"
)


class Device(Frozen):
    """A device that torch can use. `compute_capability` is None for the CPU."""

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
    """The largest errors against a float64 reference over all devices and dtypes, and the time of one forward and backward."""

    forward_error: float
    backward_error: float
    window_support_exact: bool
    milliseconds: float


class BackendCapability(Frozen):
    """What one backend can do here. `available`: it ran here and matched the reference."""

    status: Literal["available", "unavailable", "unknown"]
    version: str | None = None
    reasons: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()  # "cpu", "cuda:0"
    dtypes: tuple[str, ...] = ()  # "float32", "float16", "bfloat16"
    max_head_dim: int | None = None
    features: Features | None = None
    evidence: ProofEvidence | None = None
    implementations: tuple[str, ...] = ()
