"""Every way of computing attention on a CPU agrees with the triple loop: outputs, dq, dk and dv."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from tests.trainer.attention.triple_loop import WAYS, Case, triple_loop
from trainer.attention import banded_weights
from trainer.attention.definition import effective_window
from trainer.attention.request import Options

W = 5
LENGTHS = (1, W - 1, W, W + 1, 2 * W, 13)
WINDOWS = {
    "none": lambda length: None,
    "0": lambda length: 0,
    "1": lambda length: 1,
    "2": lambda length: 2,
    "W": lambda length: W,
    "S-1": lambda length: length - 1,
    "S": lambda length: length,
    "S+1": lambda length: length + 1,
    "beyond": lambda length: 3 * length,
}
HEADS = {"MHA": (2, 2), "GQA": (4, 2), "MQA": (2, 1)}
DOCUMENTS = ("none", "random", "one for each token")
TOLERANCES = {torch.float64: 1e-12, torch.float32: 5e-6, torch.float16: 1e-2, torch.bfloat16: 6e-2}


def cases(window: str) -> list[Case]:
    """All combinations of lengths, queries, heads and documents with a window, and capped scores with random documents."""
    plain = [
        Case(keys, queries, WINDOWS[window](keys), *heads, documents)
        for keys, heads, documents in product(LENGTHS, HEADS.values(), DOCUMENTS)
        for queries in sorted({keys, max(1, keys // 2)})
    ]
    return plain + [replace(case, softcap=0.5) for case in plain if case.documents == "random"]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("way", WAYS)
def test_outputs_and_gradients_equal_those_of_the_triple_loop(way, window, dtype, monkeypatch):
    # Several blocks even for short inputs
    monkeypatch.setattr(banded_weights, "rows_per_block", lambda q, window: min(q.shape[2], 3))
    for case in cases(window):
        answer = triple_loop(case)
        effective = effective_window(case.window, case.keys)
        served = effective is None and answer.document_ids is None and case.queries in (1, case.keys)
        if (way == "sdpa:causal" and not served) or (way == "sdpa:dense" and case.softcap):
            continue
        leaves = [x.to(dtype).requires_grad_() for x in (answer.q, answer.k, answer.v)]
        output = WAYS[way](
            leaves[0],
            leaves[1],
            leaves[2],
            Options(effective, answer.document_ids, case.head_dim**-0.5, softcap=case.softcap),
        )
        got = (output, *torch.autograd.grad(output, leaves, answer.grad.to(dtype)))
        for name, mine, theirs in zip(("output", "dq", "dk", "dv"), got, answer.expected, strict=True):
            assert mine.dtype == dtype
            error = (mine.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1.0)
            assert error <= TOLERANCES[dtype], f"{name} of {case} is off by {error:.2g}"
