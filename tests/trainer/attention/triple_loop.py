"""The reference for attention: a float64 triple loop in plain Python, written from the definition alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from trainer.attention import banded, manual, scaled_dot_product
from trainer.attention.request import Options

Rows = list[list[float]]


@dataclass(frozen=True)
class Case:
    """One set of inputs. `documents`: none, random (ids in any order), contiguous, or one for each token."""

    keys: int
    queries: int
    window: int | None
    query_heads: int = 2
    key_heads: int = 2
    documents: str = "none"
    batch: int = 2
    head_dim: int = 3
    softcap: float | None = None


@dataclass(frozen=True)
class Reference:
    """Inputs that are exact in bfloat16, and the float64 output and gradients."""

    q: Tensor
    k: Tensor
    v: Tensor
    grad: Tensor
    document_ids: Tensor | None
    expected: tuple[Tensor, ...]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def one_head(
    q: Rows, k: Rows, v: Rows, grad: Rows, window: int | None, ids: list[int] | None, softcap: float | None
) -> tuple[Rows, ...]:
    """(output, dq, dk, dv) of one head by loops over query, key and dimension."""
    dims, past = range(len(q[0])), len(k) - len(q)
    scale = 1 / math.sqrt(len(q[0]))
    output = [[0.0 for _ in dims] for _ in q]
    dq, dk, dv = ([[0.0 for _ in dims] for _ in rows] for rows in (q, k, k))
    for row in range(len(q)):
        i = past + row
        seen = [
            j
            for j in range(len(k))
            if j <= i and (not window or i - j < window) and (ids is None or ids[i] == ids[j])
        ]
        scores = [scale * dot(q[row], k[j]) for j in seen]
        slopes = [1.0 for _ in seen]
        if softcap is not None:
            slopes = [1 / math.cosh(score / softcap) ** 2 for score in scores]
            scores = [softcap * math.tanh(score / softcap) for score in scores]
        weights = [math.exp(score - max(scores)) for score in scores]
        weights = [weight / sum(weights) for weight in weights]
        for j, weight in zip(seen, weights, strict=True):
            for d in dims:
                output[row][d] += weight * v[j][d]
        for j, weight, slope in zip(seen, weights, slopes, strict=True):
            dscore = slope * scale * weight * (dot(grad[row], v[j]) - dot(grad[row], output[row]))
            for d in dims:
                dv[j][d] += weight * grad[row][d]
                dq[row][d] += dscore * k[j][d]
                dk[j][d] += dscore * q[row][d]
    return output, dq, dk, dv


@cache
def triple_loop(case: Case) -> Reference:
    """Random inputs for a case, and the expected results."""
    random = torch.Generator().manual_seed(case.keys * 31 + case.queries)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).bfloat16().double()

    q = normal(case.batch, case.query_heads, case.queries, case.head_dim)
    k = normal(case.batch, case.key_heads, case.keys, case.head_dim)
    v, grad = normal(*k.shape), normal(*q.shape)
    drawn = torch.randint(0, 3, (case.batch, case.keys), generator=random)
    ids = {
        "none": None,
        "random": drawn,
        "contiguous": drawn.sort(dim=1).values,
        "one for each token": torch.arange(case.keys).expand(case.batch, -1),
    }[case.documents]
    expected = tuple(torch.zeros_like(x) for x in (q, q, k, v))
    for b in range(case.batch):
        for head in range(case.query_heads):
            shared = head * case.key_heads // case.query_heads
            parts = one_head(
                q[b, head].tolist(),
                k[b, shared].tolist(),
                v[b, shared].tolist(),
                grad[b, head].tolist(),
                case.window,
                None if ids is None else ids[b].tolist(),
                case.softcap,
            )
            for total, part, index in zip(expected, parts, (head, head, shared, shared), strict=True):
                total[b, index] += torch.tensor(part, dtype=torch.float64)
    return Reference(q, k, v, grad, ids, expected)


# Every way to compute attention on a CPU: a name, and a function like a backend's `run`.
WAYS: dict[str, Callable[[Tensor, Tensor, Tensor, Options], Tensor]] = {
    "manual": manual.run,
    "sdpa:causal": scaled_dot_product.causal,
    "sdpa:dense": scaled_dot_product.dense,
    "sdpa:banded": banded.banded,
}
