"""What every attention backend provides. Each backend's file ends with one such value; `choice.BACKENDS` lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from doctor.capability import BackendName
from trainer.attention.request import AttentionRequest, Options

Run = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
ReasonsAgainst = Callable[[AttentionRequest], list[str]]


def no_limits(request: AttentionRequest) -> list[str]:
    """The `reasons_against` of what serves every request."""
    return []


@dataclass(frozen=True)
class Implementation:
    """One of the ways in which a backend computes attention.

    Attributes:
        name: as the capability file lists it.
        run: as for `Backend`.
        reasons_against: as for `Backend`.
        contiguous_documents: the tokens of a document must be contiguous. Checked last, because it reads a tensor.
        needs_proof: whether it runs only on machines where it was proven.
    """

    name: str
    run: Run
    reasons_against: ReasonsAgainst
    contiguous_documents: bool = False
    needs_proof: bool = False


@dataclass(frozen=True)
class Backend:
    """An attention backend: what it is called, when it can run, and how it runs.

    Attributes:
        name: as users and the capability file write it.
        label: the name for the log, which may depend on the request.
        distribution: the package that its kernels come from. Only "torch" is used without a proof on this machine.
        max_head_dim: largest head dimension; None for no limit.
        reasons_here: why it cannot run on this machine at all; empty if it can.
        reasons_against: why it cannot serve a request; empty if it can.
        run: attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D). Keys that no query sees have been cut off.
        implementations: if there are several, in order of preference. Each is proven by itself. The last one serves
            every request.
        stores_table: whether it stores the S x S table of weights if there is no window.
        missing: why there is no kernel to test, although the distribution is installed; None if there is one.
    """

    name: BackendName
    label: Callable[[AttentionRequest], str]
    distribution: str
    max_head_dim: int | None
    reasons_here: Callable[[], list[str]]
    reasons_against: ReasonsAgainst
    run: Run
    implementations: tuple[Implementation, ...] = ()
    stores_table: bool = False
    missing: Callable[[], str | None] = lambda: None
