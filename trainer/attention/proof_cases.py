"""The cases that prove a backend: random inputs against a float64 reference, forward and backward.

The reference is written from the definition, independently of the code that it checks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.attention.backend import Run
from trainer.attention.request import AttentionRequest, Options

BATCH, HEADS, LENGTH, HEAD_DIM = 2, 4, 160, 64
PARTS = -(-LENGTH // HEAD_DIM)
SCALE = 0.2  # not 1 / sqrt(HEAD_DIM), which a backend that ignores the option would use
# Documents as runs of tokens, with different and uneven boundaries in each row.
IDS = [[0 if i < 45 else 1 if i < 106 else 2 for i in range(LENGTH)], [int(i >= 77) for i in range(LENGTH)]]
# Largest errors of outputs and of gradients, relative to the largest value of the reference if that is above 1:
# about four times those of torch's own kernels.
TOLERANCES = {"float32": (1e-4, 2e-4), "float16": (2e-3, 5e-3), "bfloat16": (1.2e-2, 3e-2)}


@dataclass(frozen=True)
class Case:
    """The options of one case; `name` is "plain" or the feature that it proves."""

    name: str
    window: int | None = None
    key_heads: int = HEADS
    packed: bool = False
    dropout: float = 0.0
    softcap: float | None = None
    queries: int = LENGTH

    def request(self, device: str, dtype: str) -> AttentionRequest:
        """The case as a backend's `reasons_against` takes it."""
        return AttentionRequest(
            device=device,
            dtype=dtype,
            head_dim=HEAD_DIM,
            query_heads=HEADS,
            key_heads=self.key_heads,
            window=self.window,
            packed=self.packed,
            dropout=self.dropout,
            softcap=self.softcap is not None,
            query_length=self.queries,
            key_length=LENGTH,
        )

    def options(self, device: str) -> Options:
        """The case as a backend's `run` takes it."""
        document_ids = torch.tensor(IDS, device=device) if self.packed else None
        return Options(self.window, document_ids, SCALE, self.dropout, self.softcap)


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
class CaseResult:
    """Largest errors, the time of one forward and backward, and the problem found (None: the backend agreed)."""

    forward_error: float = 0.0
    backward_error: float = 0.0
    milliseconds: float = 0.0
    problem: str | None = None


def visible(length: int, window: int | None, ids: list[int] | None) -> list[list[bool]]:
    """The definition as a table: row i, column j is true if query i sees key j."""
    return [
        [
            j <= i and (window is None or i - j < window) and (ids is None or ids[i] == ids[j])
            for j in range(length)
        ]
        for i in range(length)
    ]


def reference(q: Tensor, k: Tensor, v: Tensor, sees: Tensor, softcap: float | None) -> Tensor:
    """Attention (B, H, S_q, D) with the whole table of weights. `sees` is (B or 1, 1, S_q, S_k)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = q @ k.transpose(-1, -2) * SCALE
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    weights = scores.masked_fill(~sees, float("-inf")).softmax(dim=-1)
    output: Tensor = weights @ v
    return output


def differentiate(call: Callable[..., Tensor], *inputs: Tensor, grad: Tensor | None = None) -> list[Tensor]:
    """[output, dq, dk, dv] of a call on q, k and v. Without grad, the output's gradient is the output itself."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = call(*leaves)
    product = output * (output.detach() if grad is None else grad)
    return [
        output.detach(),
        *torch.autograd.grad(product.sum(), leaves),
    ]  # of a scalar, which torch imports faster


class Harness:
    """Runs cases. Inputs are exact in bfloat16, so the float64 references are the same for all devices and dtypes."""

    def __init__(self) -> None:
        self._random = torch.Generator().manual_seed(20)
        self._references = {case: self._reference(case) for case in CASES}

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random).bfloat16().double()

    def _reference(self, case: Case) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """(table of seen keys, [q, k, v, gradient of the output], [output, dq, dk, dv])."""
        rows = IDS if case.packed else [None]
        tables = [visible(LENGTH, case.window, ids)[-case.queries :] for ids in rows]
        sees = torch.tensor(tables)[:, None]
        q = self._normal(BATCH, HEADS, case.queries, HEAD_DIM)
        k, v = (self._normal(BATCH, case.key_heads, LENGTH, HEAD_DIM) for _ in range(2))
        grad = self._normal(*q.shape)
        expected = differentiate(lambda q, k, v: reference(q, k, v, sees, case.softcap), q, k, v, grad=grad)
        return sees, [q, k, v, grad], expected

    def run(self, run: Run, case: Case, device: str, dtype: str) -> CaseResult:
        """Compare one case with its reference. Exceptions of the backend are not caught."""
        sees, inputs, expected = self._references[case]
        q, k, v, grad = (x.to(device, getattr(torch, dtype)) for x in inputs)
        options = case.options(device)
        started = time.perf_counter()
        results = differentiate(
            lambda q, k, v: run(q, k, v, options), q, k, v, grad=None if case.dropout else grad
        )
        results = [x.double().cpu() for x in results]
        milliseconds = (time.perf_counter() - started) * 1000
        if case.dropout:
            problem = _dropout_problem(results, inputs[2], expected[0])
            return CaseResult(milliseconds=milliseconds, problem=problem)
        forward, *gradients = (
            float((actual - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))
            for actual, wanted in zip(results, expected, strict=True)
        )
        backward = max(gradients)
        allowed = TOLERANCES[dtype]
        if not (forward <= allowed[0] and backward <= allowed[1]):  # true for NaN
            problem = (
                f"differs from the float64 reference by {forward:.2g} (output), {backward:.2g} (gradients)"
            )
        else:
            problem = _visibility_problem(run, options, q, k, sees[0, 0])
        return CaseResult(forward, backward, milliseconds, problem)


def _visibility_problem(run: Run, options: Options, q: Tensor, k: Tensor, sees: Tensor) -> str | None:
    """The problem if other keys are seen than `sees` allows, even where they hardly count.

    With one-hot values the output is the table of weights, above zero exactly where a key is seen; with a one-hot
    gradient so is dv. A head has only HEAD_DIM columns of the table, so each row of the batch makes some of them.
    """

    def one_hot(like: Tensor) -> Tensor:
        columns = torch.eye(like.shape[2], PARTS * HEAD_DIM, dtype=like.dtype, device=like.device)
        return torch.stack(columns.chunk(PARTS, dim=1))[:, None].repeat(1, like.shape[1], 1, 1)

    def table(parts: Tensor, columns: int) -> Tensor:
        return parts.permute(1, 2, 0, 3).flatten(2)[:, :, :columns].cpu() > 0

    # One key head is enough. Small scores keep every weight away from zero.
    groups = q.shape[1] // k.shape[1]
    q, k = q[:1, :groups].repeat(PARTS, 1, 1, 1) / 4, k[:1, :1].repeat(PARTS, 1, 1, 1)
    if options.document_ids is not None:
        options = replace(options, document_ids=options.document_ids[:1].repeat(PARTS, 1))
    output, _, _, dv = differentiate(lambda q, k, v: run(q, k, v, options), q, k, one_hot(k), grad=one_hot(q))
    if not bool((table(output, k.shape[2]) == sees).all()):
        return "sees other keys than the definition allows"
    if not bool((table(dv, q.shape[2]) == sees.T).all()):
        return "computes gradients for other keys than it sees"
    return None


def _dropout_problem(results: list[Tensor], v: Tensor, without: Tensor) -> str | None:
    """The problem unless weights were dropped, the same ones in both passes, and the others scaled up.

    Args:
        results: [output, dq, dk, dv], with the output as its own gradient.
        without: the output without dropout.
    """
    output, _, _, dv = results
    if float((output - without).norm() / without.norm()) < 0.1:
        return "dropout drops nothing"
    # The output is linear in v, so <output, output> = <v, dv> if the same weights were dropped.
    if not abs(float((v * dv).sum() / output.square().sum()) - 1) < 0.03:
        return "dropout drops other weights in the backward pass"
    ratio = float((output * without).sum() / without.square().sum())
    return None if abs(ratio - 1) < 0.1 else f"dropout changes the scale by {ratio:.2f}"
