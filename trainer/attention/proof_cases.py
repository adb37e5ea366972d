"""Experiments on an attention backend: random inputs against a float64 reference, forward and backward.

The reference follows the definition in words, independently of the code that it judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.attention.request import Options

BATCH, HEADS, LENGTH, HEAD_DIM = 2, 4, 160, 64
PARTS = -(-LENGTH // HEAD_DIM)
SCALE = 0.2  # not 1 / sqrt(HEAD_DIM), which a backend that drops the option would use
# Documents as runs of tokens, cut elsewhere in each row, and at no round number.
IDS = [[0 if i < 45 else 1 if i < 106 else 2 for i in range(LENGTH)], [int(i >= 77) for i in range(LENGTH)]]
# Largest errors of outputs and of gradients, relative to the largest value of the reference where that is above 1:
# some four times those of torch's own kernels.
TOLERANCES = {"float32": (1e-4, 2e-4), "float16": (2e-3, 5e-3), "bfloat16": (1.2e-2, 3e-2)}

Call = Callable[[Tensor, Tensor, Tensor, Options], Tensor]  # q, k, v and options of one call


@dataclass(frozen=True)
class Case:
    """What is asked of a backend in one experiment; `name` is "plain" or a feature's."""

    name: str
    window: int | None = None
    key_heads: int = HEADS
    packed: bool = False
    dropout: float = 0.0
    softcap: float | None = None
    queries: int = LENGTH


CASES = (
    Case("plain"),
    Case("plain", queries=50),
    Case("plain", softcap=2.0),
    Case("window", window=17),
    Case("window", window=17, queries=50),
    Case("gqa", window=17, key_heads=2),
    Case("packed", packed=True),
    Case("packed", packed=True, window=17, queries=100),
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


def reference(q: Tensor, k: Tensor, v: Tensor, sees: Tensor, softcap: float | None) -> Tensor:
    """Attention with the whole table of weights: (B, H, S_q, D), and `sees` (B or 1, 1, S_q, S_k)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = q @ k.transpose(-1, -2) * SCALE
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    weights = scores.masked_fill(~sees, float("-inf")).softmax(dim=-1)
    output: Tensor = weights @ v
    return output


def differentiate(call: Callable[..., Tensor], *inputs: Tensor, grad: Tensor | None = None) -> list[Tensor]:
    """[output, dq, dk, dv] of a call on q, k and v; grad None: the output's own value is its gradient."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = call(*leaves)
    product = output * (output.detach() if grad is None else grad)
    return [output.detach(), *torch.autograd.grad(product.sum(), leaves)]  # of a scalar: quicker to import


class Laboratory:
    """Inputs and their float64 answers: the same for all devices and dtypes, since they are exact in bfloat16."""

    def __init__(self) -> None:
        self._random = torch.Generator().manual_seed(20)
        self._known = {case: self._answer(case) for case in CASES}

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random).bfloat16().double()

    def _answer(self, case: Case) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """(which keys are seen, [q, k, v, gradient of the output], [output, dq, dk, dv])."""
        rows = IDS if case.packed else [None]
        tables = [visible(LENGTH, case.window, ids)[-case.queries :] for ids in rows]
        sees = torch.tensor(tables)[:, None]
        q = self._normal(BATCH, HEADS, case.queries, HEAD_DIM)
        k, v = (self._normal(BATCH, case.key_heads, LENGTH, HEAD_DIM) for _ in range(2))
        grad = self._normal(*q.shape)
        answers = differentiate(lambda q, k, v: reference(q, k, v, sees, case.softcap), q, k, v, grad=grad)
        return sees, [q, k, v, grad], answers

    def ask(
        self, reasons_against: Callable[..., list[str]], case: Case, device: str, dtype: str
    ) -> list[str]:
        """What an implementation has against an experiment."""
        q, k = (x.to(device, getattr(torch, dtype)) for x in self._known[case][1][:2])
        return reasons_against(q, k, _options(case, device))

    def run(self, call: Call, case: Case, device: str, dtype: str) -> Outcome:
        """One experiment. Whatever the backend raises goes through."""
        sees, inputs, answers = self._known[case]
        q, k, v, grad = (x.to(device, getattr(torch, dtype)) for x in inputs)
        options = _options(case, device)
        started = time.perf_counter()
        results = differentiate(
            lambda q, k, v: call(q, k, v, options), q, k, v, grad=None if case.dropout else grad
        )
        results = [x.double().cpu() for x in results]
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
        if not (forward <= allowed[0] and max(backward) <= allowed[1]):  # true for NaN
            problem = f"off the float64 reference by {forward:.2g} (output), {max(backward):.2g} (gradients)"
            return Outcome(forward, max(backward), milliseconds, problem)
        return Outcome(
            forward, max(backward), milliseconds, _support_problem(call, options, q, k, sees[0, 0])
        )


def _options(case: Case, device: str) -> Options:
    return Options(
        case.window,
        torch.tensor(IDS, device=device) if case.packed else None,
        SCALE,
        case.dropout,
        case.softcap,
    )


def _support_problem(call: Call, options: Options, q: Tensor, k: Tensor, sees: Tensor) -> str | None:
    """With one-hot values the output is the table of weights, above zero exactly where a key is seen; with a one-hot
    gradient so is dv. A head holds but HEAD_DIM columns of the table, so each row of the batch makes some of them.
    """

    def one_hot(like: Tensor) -> Tensor:
        columns = torch.eye(like.shape[2], PARTS * HEAD_DIM, dtype=like.dtype, device=like.device)
        return torch.stack(columns.chunk(PARTS, dim=1))[:, None].repeat(1, like.shape[1], 1, 1)

    def table(parts: Tensor, columns: int) -> Tensor:
        return parts.permute(1, 2, 0, 3).flatten(2)[:, :, :columns].cpu() > 0

    groups = (
        q.shape[1] // k.shape[1]
    )  # one key head is enough, as are scores that let no weight come near zero
    q, k = q[:1, :groups].repeat(PARTS, 1, 1, 1) / 4, k[:1, :1].repeat(PARTS, 1, 1, 1)
    if options.document_ids is not None:
        options = replace(options, document_ids=options.document_ids[:1].repeat(PARTS, 1))
    output, _, _, dv = differentiate(
        lambda q, k, v: call(q, k, v, options), q, k, one_hot(k), grad=one_hot(q)
    )
    if not bool((table(output, k.shape[2]) == sees).all()):
        return "other keys are seen than the definition allows"
    if not bool((table(dv, q.shape[2]) == sees.T).all()):
        return "other keys get a gradient than are seen"
    return None


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
