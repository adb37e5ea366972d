"""Experiments on an attention backend: random inputs against a float64 reference, forward and backward.

The reference follows the definition in words, independently of the code that it judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BATCH, HEADS, LENGTH, HEAD_DIM = 2, 4, 160, 64
ONE_HOT = 128  # keys, and head dimension, where the values are one-hot
# Documents as runs of tokens, cut elsewhere in each row, and at no round number.
IDS = [[0 if i < 45 else 1 if i < 106 else 2 for i in range(LENGTH)], [int(i >= 77) for i in range(LENGTH)]]
# Largest errors of outputs and of gradients, relative to the largest value of the reference where that is above 1.
TOLERANCES = {"float32": (1e-4, 1e-3), "float16": (5e-3, 2e-2), "bfloat16": (4e-2, 1.5e-1)}


@dataclass(frozen=True)
class Case:
    """What is asked of a backend in one experiment; `name` is "plain" or a feature's."""

    name: str
    window: int | None = None
    key_heads: int = HEADS
    packed: bool = False
    dropout: float = 0.0


CASES = (
    Case("plain"),
    Case("window", window=17),
    Case("gqa", window=17, key_heads=2),
    Case("packed", window=17, packed=True),
    Case("dropout", dropout=0.25),
)


@dataclass(frozen=True)
class Outcome:
    """Largest errors, the time of one forward and backward, and what is wrong (None: it agreed)."""

    forward_error: float = 0.0
    backward_error: float = 0.0
    milliseconds: float = 0.0
    problem: str | None = None


def visible(length: int, window: int | None, ids: list[int] | None) -> list[list[bool]]:
    """The definition: row i says which keys j query i sees."""
    return [
        [
            j <= i and (window is None or i - j < window) and (ids is None or ids[i] == ids[j])
            for j in range(length)
        ]
        for i in range(length)
    ]


def reference(q: Tensor, k: Tensor, v: Tensor, sees: Tensor) -> Tensor:
    """Attention with the whole table of weights: (B, H, S, D), and `sees` (B or 1, 1, S, S)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~sees, float("-inf")).softmax(dim=-1)
    output: Tensor = weights @ v
    return output


class Laboratory:
    """Inputs and their float64 answers: the same for all devices and dtypes, since they are exact in bfloat16."""

    def __init__(self) -> None:
        self._random = torch.Generator().manual_seed(20)
        self._known = {case.name: self._answer(case) for case in CASES}
        self._q, self._k = self._normal(1, 1, ONE_HOT, ONE_HOT), self._normal(1, 1, ONE_HOT, ONE_HOT)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random).bfloat16().double()

    def _sees(self, case: Case, length: int) -> Tensor:
        rows = IDS if case.packed else [None]
        return torch.tensor([visible(length, case.window, ids) for ids in rows])[:, None]

    def _answer(self, case: Case) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """((q, k, v, gradient of the output), (output, dq, dk, dv))."""
        q = self._normal(BATCH, HEADS, LENGTH, HEAD_DIM)
        k, v = (self._normal(BATCH, case.key_heads, LENGTH, HEAD_DIM) for _ in range(2))
        grad = self._normal(*q.shape)
        leaves = (q.clone().requires_grad_(), k.clone().requires_grad_(), v.clone().requires_grad_())
        output = reference(*leaves, self._sees(case, LENGTH))
        return (q, k, v, grad), (output.detach(), *torch.autograd.grad(output, leaves, grad))

    def run(self, call: Callable[..., Tensor], case: Case, device: str, dtype: str) -> Outcome:
        """One experiment. Whatever the backend raises goes through."""
        inputs, answers = self._known[case.name]
        q, k, v, grad = (x.to(device, getattr(torch, dtype)) for x in inputs)
        ids = torch.tensor(IDS, device=device) if case.packed else None
        leaves = [x.requires_grad_() for x in (q, k, v)]
        for _ in range(2):  # the first one warms up
            started = time.perf_counter()
            output = call(
                *leaves, window=case.window, document_ids=ids, scale=HEAD_DIM**-0.5, dropout=case.dropout
            )
            gradients = torch.autograd.grad(output, leaves, output.detach() if case.dropout else grad)
            results = [x.double().cpu() for x in (output.detach(), *gradients)]
            milliseconds = (time.perf_counter() - started) * 1000
        if case.dropout:
            return Outcome(
                milliseconds=milliseconds, problem=_dropout_problem(results, inputs[2], answers[0])
            )
        forward, *backward = (
            float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))
            for got, wanted in zip(results, answers, strict=True)
        )
        allowed = TOLERANCES[dtype]
        if forward <= allowed[0] and max(backward) <= allowed[1]:  # false for NaN
            problem = self._one_hot_problem(call, case, device, dtype)
        else:
            problem = f"off the float64 reference by {forward:.2g} (output), {max(backward):.2g} (gradients)"
        return Outcome(forward, max(backward), milliseconds, problem)

    def _one_hot_problem(
        self, call: Callable[..., Tensor], case: Case, device: str, dtype: str
    ) -> str | None:
        """With one-hot values the output is the table of weights: above zero exactly where a key is seen."""
        if case.name not in ("plain", "window"):
            return None
        kind = getattr(torch, dtype)
        q, k = self._q.to(device, kind), self._k.to(device, kind)
        v = torch.eye(ONE_HOT, device=device, dtype=kind)[None, None]
        weights = call(q, k, v, window=case.window, document_ids=None, scale=ONE_HOT**-0.5, dropout=0.0)
        if torch.equal(weights.cpu() > 0, self._sees(case, ONE_HOT)):
            return None
        return "other keys are seen than the definition allows"


def _dropout_problem(results: list[Tensor], v: Tensor, without: Tensor) -> str | None:
    """Weights must have been dropped, the same ones in both passes, and the rest scaled up.

    `results` are the output, and the gradients where the output's own gradient is the output.
    """
    output, _, _, dv = results
    if float((output - without).norm() / without.norm()) < 0.1:
        return "dropout drops nothing"
    # the output is linear in v, so <output, output> = <v, dv> where the same weights were dropped
    if not abs(float((v * dv).sum() / output.square().sum()) - 1) < 0.03:
        return "dropout drops other weights in the backward pass"
    ratio = float((output * without).sum() / without.square().sum())
    return None if abs(ratio - 1) < 0.1 else f"dropout changes the scale by {ratio:.2f}"
