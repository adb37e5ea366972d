"""flash_attn_2 and xformers are called as they must be: with faithful stand-ins here, with the real ones on a GPU."""

from __future__ import annotations

import math
import sys
from types import ModuleType

import pytest
import torch

from trainer.attention import attention, flash_attn_2, laboratory, manual, xformers
from trainer.attention.packing import pack
from trainer.attention.request import AttentionRequest


def dense(q, k, v, scale, left, right, p=0.0):
    """(S, H, D) attention with a window as flash-attn means it, aligned at the last query and key."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    i = torch.arange(q.shape[0])[:, None] + k.shape[0] - q.shape[0]
    j = torch.arange(k.shape[0])
    sees = (j >= i - (left if left >= 0 else math.inf)) & (j <= i + (right if right >= 0 else math.inf))
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    weights = torch.softmax(scores.masked_fill(~sees, -torch.inf), -1)
    return torch.einsum("hqk,khd->qhd", weights, v)


class FlashAttn(ModuleType):
    """The two functions of flash-attn 2.8 that are used, with its parameters and its layout."""

    def __init__(self):
        super().__init__("flash_attn")
        self.calls = []

    def flash_attn_func(self, q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1)):
        self.calls.append({"window_size": window_size, "causal": causal, "dropout_p": dropout_p})
        right = 0 if causal else window_size[1]
        rows = zip(q, k, v, strict=True)
        return torch.stack([dense(*row, softmax_scale, window_size[0], right) for row in rows])

    def flash_attn_varlen_func(
        self,
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        dropout_p=0.0,
        softmax_scale=None,
        causal=False,
        window_size=(-1, -1),
    ):
        self.calls.append({"window_size": window_size, "causal": causal, "documents": len(cu_seqlens_q) - 1})
        assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
        queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
        assert (max(queries), max(keys)) == (max_seqlen_q, max_seqlen_k)
        assert (sum(queries), sum(keys)) == (len(q), len(k))
        parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
        return torch.cat([dense(*part, softmax_scale, window_size[0], 0) for part in parts])


class Bias:
    """A mask of xformers: causal from the bottom right, for one document or for several."""

    def __init__(self, lengths=None, window=None):
        self.lengths, self.window = lengths, window

    @classmethod
    def from_seqlens(cls, q_seqlen, kv_seqlen=None):
        return cls((q_seqlen, kv_seqlen or q_seqlen))

    def make_local_attention(self, window_size):
        return type(self)(self.lengths, window_size)


class Xformers:
    """memory_efficient_attention with its layout (B, S, H, D), which expects as many key heads as query heads."""

    def __init__(self):
        self.calls = []

    def memory_efficient_attention(self, query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None):
        self.calls.append(attn_bias)
        assert query.shape[2] == key.shape[2] == value.shape[2]
        left = -1 if attn_bias.window is None else attn_bias.window - 1
        if attn_bias.lengths is None:
            rows = zip(query, key, value, strict=True)
            return torch.stack([dense(*row, scale, left, 0) for row in rows])
        assert query.shape[0] == 1
        queries, keys = attn_bias.lengths
        parts = zip(query[0].split(queries), key[0].split(keys), value[0].split(keys), strict=True)
        return torch.cat([dense(*part, scale, left, 0) for part in parts])[None]


@pytest.fixture
def flash(monkeypatch):
    package = FlashAttn()
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    return package


@pytest.fixture
def memory_efficient(monkeypatch):
    kernels = Xformers()
    ops, biases = ModuleType("xformers.ops"), ModuleType("xformers.ops.fmha.attn_bias")
    ops.memory_efficient_attention = kernels.memory_efficient_attention
    biases.LowerTriangularFromBottomRightMask = type("LowerTriangularFromBottomRightMask", (Bias,), {})
    biases.BlockDiagonalCausalFromBottomRightMask = type(
        "BlockDiagonalCausalFromBottomRightMask", (Bias,), {}
    )
    for module in (ModuleType("xformers"), ops, ModuleType("xformers.ops.fmha"), biases):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return kernels


CASES = [
    (queries, window, key_heads, packed)
    for queries in (40, 13, 1)
    for window in (None, 1, 7)
    for key_heads in (4, 2)
    for packed in (False, True)
]


@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
@pytest.mark.parametrize("backend", [flash_attn_2, xformers], ids=["flash_attn_2", "xformers"])
def test_same_result_as_the_reference(backend, queries, window, key_heads, packed, flash, memory_efficient):
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=random, dtype=torch.float64)
    k, v = torch.randn(2, 2, key_heads, 40, 8, generator=random, dtype=torch.float64).unbind()
    ids = torch.stack([torch.arange(40) // 11, torch.arange(40) // 35]) if packed else None
    leaves = [x.requires_grad_() for x in (q, k, v)]
    options = {"window": window, "document_ids": ids, "scale": 0.3, "dropout": 0.0}
    output, expected = backend.run(*leaves, **options), manual.run(*leaves, **options)
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    torch.testing.assert_close(
        torch.autograd.grad(output, leaves, grad), torch.autograd.grad(expected, leaves, grad)
    )
    if backend is flash_attn_2:
        (call,) = flash.calls
        assert call["causal"] and call["window_size"] == ((-1, -1) if window is None else (window - 1, 0))
    else:
        (bias,) = memory_efficient.calls
        block = "BlockDiagonalCausalFromBottomRightMask" if packed else "LowerTriangularFromBottomRightMask"
        assert type(bias).__name__ == block and bias.window == window


def test_dropout_and_scale_reach_flash_attn(flash):
    q, k, v = torch.randn(3, 1, 2, 5, 8).unbind()
    flash_attn_2.run(q, k, v, window=None, document_ids=None, scale=0.3, dropout=0.1)
    assert flash.calls == [{"window_size": (-1, -1), "causal": True, "dropout_p": 0.1}]


def test_packing_counts_queries_at_the_end_and_leaves_out_documents_without_any():
    packing = pack(torch.tensor([[0, 0, 0, 1, 1, 2], [5, 5, 5, 5, 5, 5]]), 3)
    assert packing.query_lengths == (2, 1, 3)
    assert packing.key_lengths == (2, 1, 6)
    assert packing.keys.tolist() == [False] * 3 + [True] * 9


def test_interrupted_document_is_refused_and_not_leaked():
    with pytest.raises(ValueError, match="interrupted by another one"):
        pack(torch.tensor([[0, 1, 0]]), 3)
    assert pack(torch.tensor([[0, 1], [1, 0]]), 2).key_lengths == (1, 1, 1, 1)


def test_packed_flash_attn_stays_within_32_bit_indices():
    row = 64 * 256  # 64 heads of 256
    most = 2**31 // row - 1
    lengths = (most // 2,) * 5
    parts = list(flash_attn_2._parts(lengths, 64, 250))
    assert [part for part in parts if sum(x + 128 for x in lengths[part]) * row >= 2**31] == []
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(5))
    assert len(parts) > 1
    assert list(flash_attn_2._parts((most - 128,), 64, 250)) == [slice(0, 1)]
    with pytest.raises(ValueError, match="overflows its 32-bit indices"):
        list(flash_attn_2._parts((10, most - 127), 64, 250))


def test_split_call_gives_the_same_result(flash, monkeypatch):
    q, k, v = torch.randn(3, 2, 2, 40, 8, dtype=torch.float64).unbind()
    options = {
        "window": 5,
        "document_ids": (torch.arange(40) // 11).expand(2, -1),
        "scale": 0.3,
        "dropout": 0.0,
    }
    whole = flash_attn_2.run(q, k, v, **options)
    monkeypatch.setattr(flash_attn_2, "_parts", lambda lengths, *_: [slice(0, 3), slice(3, len(lengths))])
    torch.testing.assert_close(flash_attn_2.run(q, k, v, **options), whole)
    assert [call["documents"] for call in flash.calls] == [8, 3, 5]


@pytest.mark.parametrize(
    ("module", "change", "says"),
    [
        (flash_attn_2, {"device": "cpu"}, ["needs an NVIDIA GPU, and this runs on cpu"]),
        (flash_attn_2, {"dtype": "float32"}, ["computes in float16 and bfloat16, not in float32"]),
        (flash_attn_2, {"head_dim": 264}, ["serves heads up to 256 wide, not 264"]),
        (flash_attn_2, {}, []),
        (xformers, {"device": "cpu"}, ["needs an NVIDIA GPU, and this runs on cpu"]),
        (xformers, {"dtype": "float64"}, ["does not compute in float64"]),
        (xformers, {"head_dim": 60}, ["needs a head dimension that 8 divides, not 60"]),
        (xformers, {"dtype": "float32"}, []),
    ],
)
def test_reasons_against_a_request(module, change, says):
    request = {
        "device": "cuda:0",
        "dtype": "float16",
        "head_dim": 64,
        "query_heads": 4,
        "key_heads": 2,
        **change,
    }
    assert module.reasons_against(AttentionRequest(**request)) == says


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("case", laboratory.CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("backend", ["flash_attn_2", "xformers", "sdpa", "manual"])
def test_real_kernels_agree_on_the_gpu(backend, dtype, case):
    module = {"flash_attn_2": flash_attn_2, "xformers": xformers}.get(backend)
    request = AttentionRequest("cuda:0", dtype, laboratory.HEAD_DIM, laboratory.HEADS, case.key_heads)
    reasons = [] if module is None else module.reasons_here() + module.reasons_against(request)
    if reasons:
        pytest.skip("; ".join(reasons))

    def call(q, k, v, **options):
        return attention(q, k, v, backend=backend, **options)

    assert laboratory.Laboratory().run(call, case, "cuda:0", dtype).problem is None
