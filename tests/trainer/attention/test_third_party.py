"""flash_attn_2 and xformers are called correctly: faithful stand-ins on the CPU, the real packages on a GPU."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch

from trainer.attention import attention, flash_attn_2, manual, packing, xformers
from trainer.attention.choice import BACKENDS
from trainer.attention.packing import pack, within_32_bits
from trainer.attention.proof_cases import CASES as PROOF_CASES
from trainer.attention.proof_cases import Harness
from trainer.attention.proof_memory import MemoryCase
from trainer.attention.request import AttentionRequest, Options


def dense(q, k, v, scale, left, right, bottom_right=True, softcap=0.0):
    """(S, H, D) attention with a window as flash-attn defines it, aligned at the last query and key or at the first."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    i = torch.arange(q.shape[0])[:, None] + (k.shape[0] - q.shape[0] if bottom_right else 0)
    j = torch.arange(k.shape[0])
    sees = (j >= i - (left if left >= 0 else math.inf)) & (j <= i + (right if right >= 0 else math.inf))
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    weights = torch.softmax(scores.masked_fill(~sees, -torch.inf), -1)
    return torch.einsum("hqk,khd->qhd", weights, v)


class FlashAttn(ModuleType):
    """The two functions of flash-attn 2.8.3 that are used: its parameters, its checks and its layout."""

    def __init__(self):
        super().__init__("flash_attn")
        self.calls = []

    def flash_attn_func(
        self,
        q,
        k,
        v,
        dropout_p=0.0,
        softmax_scale=None,
        causal=False,
        window_size=(-1, -1),
        softcap=0.0,
        alibi_slopes=None,
        deterministic=False,
        return_attn_probs=False,
    ):
        self.calls.append({"window_size": window_size, "causal": causal, "dropout_p": dropout_p})
        right = 0 if causal else window_size[1]
        rows = zip(q, k, v, strict=True)
        return torch.stack(
            [dense(*row, softmax_scale, window_size[0], right, softcap=softcap) for row in rows]
        )

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
        softcap=0.0,
        alibi_slopes=None,
        deterministic=False,
        return_attn_probs=False,
        block_table=None,
    ):
        self.calls.append({"window_size": window_size, "causal": causal, "documents": len(cu_seqlens_q) - 1})
        for offsets in (cu_seqlens_q, cu_seqlens_k):
            assert offsets.dtype == torch.int32 and offsets.is_contiguous() and offsets.device == q.device
            assert offsets.ndim == 1
        assert type(max_seqlen_q) is type(max_seqlen_k) is int
        queries, keys = cu_seqlens_q.diff().tolist(), cu_seqlens_k.diff().tolist()
        assert (max(queries), max(keys)) == (max_seqlen_q, max_seqlen_k)
        assert (sum(queries), sum(keys)) == (len(q), len(k))
        right = 0 if causal else window_size[1]
        parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
        return torch.cat(
            [dense(*part, softmax_scale, window_size[0], right, softcap=softcap) for part in parts]
        )


@dataclass(frozen=True)
class Bias:
    """A causal mask of xformers, with or without a window, and with its alignment."""

    window: int | None = None
    bottom_right: bool = True
    lengths: tuple[list[int], list[int]] | None = None


class LowerTriangularFromBottomRightMask(Bias):
    def make_local_attention(self, window_size):
        return Bias(window_size)


class BlockDiagonalMask:
    """The mask of xformers 0.0.35, whose `make_local_attention` is aligned at each document's first query and key."""

    def __init__(self, lengths):
        self.lengths = lengths

    @classmethod
    def from_seqlens(cls, q_seqlen, kv_seqlen=None, *, device=None):
        assert device is not None, (
            "the default is the current CUDA device, which need not be that of the queries"
        )
        assert all(type(length) is int for length in (*q_seqlen, *kv_seqlen))
        return cls((q_seqlen, kv_seqlen))

    def make_causal(self):
        return Bias(None, False, self.lengths)

    def make_causal_from_bottomright(self):
        return Bias(None, True, self.lengths)

    def make_local_attention(self, window_size):
        return Bias(window_size, False, self.lengths)

    def make_local_attention_from_bottomright(self, window_size):
        return Bias(window_size, True, self.lengths)


class Xformers:
    """memory_efficient_attention with its layouts: (B, S, H, D) with equal numbers of heads, otherwise five dimensions."""

    def __init__(self):
        self.calls = []

    def memory_efficient_attention(
        self, query, key, value, attn_bias=None, p=0.0, scale=None, *, op=None, output_dtype=None
    ):
        self.calls.append(attn_bias)
        assert query.shape[2:] == key.shape[2:] == value.shape[2:] and query.ndim in (4, 5)
        for x in (query, key, value):
            assert x.stride(-1) <= 1 and x.shape[-1] % 8 == 0 and x.stride(-2) % 8 == 0
        shape = query.shape
        if query.ndim == 5:  # (B, M, G, H, K): H query heads share one of G key heads, which is expanded
            assert key.stride(3) == value.stride(3) == 0
            query, key, value = (x.flatten(2, 3) for x in (query, key, value))
        left = -1 if attn_bias.window is None else attn_bias.window - 1
        rows = zip(query, key, value, strict=True)
        if attn_bias.lengths is not None:
            assert query.shape[0] == key.shape[0] == 1
            queries, keys = attn_bias.lengths
            assert (sum(queries), sum(keys)) == (query.shape[1], key.shape[1])
            rows = zip(query[0].split(queries), key[0].split(keys), value[0].split(keys), strict=True)
        output = torch.cat([dense(*row, scale, left, 0, attn_bias.bottom_right) for row in rows])
        return output.view(shape)


@pytest.fixture
def flash(monkeypatch):
    package = FlashAttn()
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    return package


@pytest.fixture
def memory_efficient(monkeypatch):
    kernels = Xformers()
    ops: Any = ModuleType("xformers.ops")
    biases: Any = ModuleType("xformers.ops.fmha.attn_bias")
    ops.memory_efficient_attention = kernels.memory_efficient_attention
    biases.LowerTriangularFromBottomRightMask = LowerTriangularFromBottomRightMask
    biases.BlockDiagonalMask = BlockDiagonalMask
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
    options = Options(window, ids, 0.3)
    output, expected = backend.run(q, k, v, options), manual.run(q, k, v, options)
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
        assert bias.window == window and bias.bottom_right


@pytest.mark.parametrize("packed", [False, True])
def test_xformers_is_given_heads_at_multiples_of_eight(packed, memory_efficient):
    q, k, v = torch.randn(3, 1, 9, 2, 9)[..., :8].transpose(2, 3).unbind()
    ids = torch.zeros(1, 9, dtype=torch.long) if packed else None
    options = Options(3, ids, 0.3)
    torch.testing.assert_close(xformers.run(q, k, v, options), manual.run(q, k, v, options))


def test_an_xformers_that_cannot_place_a_mask_on_a_device_is_refused(memory_efficient, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert xformers.reasons_here() == []
    monkeypatch.setattr(BlockDiagonalMask, "from_seqlens", lambda q_seqlen, kv_seqlen=None: None)
    assert "takes no device" in xformers.reasons_here()[0]


def test_flash_attn_4_alone_is_not_flash_attn(tmp_path, monkeypatch):
    """It installs the folder flash_attn/cute and no flash_attn/__init__.py, so `import flash_attn` succeeds."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    (tmp_path / "flash_attn" / "cute" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    assert flash_attn_2.reasons_here() == ["flash-attn package not installed"]


def test_dropout_and_scale_reach_flash_attn(flash):
    q, k, v = torch.randn(3, 1, 2, 5, 8).unbind()
    flash_attn_2.run(q, k, v, Options(None, None, 0.3, 0.1))
    assert flash.calls == [{"window_size": (-1, -1), "causal": True, "dropout_p": 0.1}]


@pytest.mark.parametrize("packed", [False, True])
def test_cap_of_scores_reaches_flash_attn(packed, flash):
    q, k, v = torch.randn(3, 1, 2, 40, 8, dtype=torch.float64).unbind()
    ids = (torch.arange(40) // 11)[None] if packed else None
    options = Options(5, ids, 0.9, softcap=0.4)
    torch.testing.assert_close(flash_attn_2.run(q, k, v, options), manual.run(q, k, v, options))


def test_packing_aligns_queries_at_the_end_and_skips_documents_without_queries():
    packed = pack(torch.tensor([[0, 0, 0, 1, 1, 2], [5, 5, 5, 5, 5, 5]]), 3)
    assert packed.query_lengths == (2, 1, 3)
    assert packed.key_lengths == (2, 1, 6)
    assert packed.keys.tolist() == [False] * 3 + [True] * 9


def test_an_interrupted_document_is_refused():
    with pytest.raises(ValueError, match="interrupted by another one"):
        pack(torch.tensor([[0, 1, 0]]), 3)
    assert pack(torch.tensor([[0, 1], [1, 0]]), 2).key_lengths == (1, 1, 1, 1)


def test_packed_flash_attn_stays_within_32_bit_indices():
    row = 64 * 256  # 64 heads of 256
    most = 2**31 // row - 1
    lengths: tuple[int, ...] = (most // 2,) * 5
    parts = list(within_32_bits(lengths, 64, 250))
    assert [part for part in parts if sum(x + 128 for x in lengths[part]) * row >= 2**31] == []
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(5))
    assert len(parts) > 1
    assert list(within_32_bits((most - 128,), 64, 250)) == [slice(0, 1)]
    with pytest.raises(ValueError, match="overflows the 32-bit indices"):
        list(within_32_bits((10, most - 127), 64, 250))
    fits = 2**31 // (64 * 192) - 128  # heads of 129 to 192 are padded to 192
    assert list(within_32_bits((fits,), 64, 130)) == [slice(0, 1)]
    with pytest.raises(ValueError, match="overflows the 32-bit indices"):
        list(within_32_bits((fits + 1,), 64, 130))


def test_a_split_call_gives_the_same_result(flash, monkeypatch):
    q, k, v = torch.randn(3, 2, 2, 40, 8, dtype=torch.float64).unbind()
    options = Options(5, (torch.arange(40) // 11).expand(2, -1), 0.3)
    whole = flash_attn_2.run(q, k, v, options)
    monkeypatch.setattr(packing, "within_32_bits", lambda lengths, *_: [slice(0, 3), slice(3, len(lengths))])
    torch.testing.assert_close(flash_attn_2.run(q, k, v, options), whole)
    assert [call["documents"] for call in flash.calls] == [8, 3, 5]


@pytest.mark.parametrize(
    ("module", "change", "says"),
    [
        (flash_attn_2, {"device": "cpu"}, ["needs an NVIDIA GPU, and this runs on cpu"]),
        (flash_attn_2, {"dtype": "float32"}, ["computes in float16 and bfloat16, not in float32"]),
        (flash_attn_2, {"head_dim": 264}, ["supports head dimensions up to 256, not 264"]),
        (flash_attn_2, {"head_dim": 256}, []),
        (
            flash_attn_2,
            {"head_dim": 256, "dropout": 0.1},
            ["supports head dimensions up to 192 with dropout, not 256"],
        ),
        (flash_attn_2, {}, []),
        (flash_attn_2, {"softcap": True}, []),
        (flash_attn_2, {"softcap": True, "dropout": 0.1}, ["does not cap scores with dropout"]),
        (xformers, {"softcap": True}, ["does not cap scores"]),
        (xformers, {"device": "cpu"}, ["needs an NVIDIA GPU, and this runs on cpu"]),
        (xformers, {"dtype": "float64"}, ["does not compute in float64"]),
        (xformers, {"head_dim": 60}, ["needs a head dimension that is a multiple of 8, not 60"]),
        (xformers, {"dtype": "float32"}, []),
    ],
)
def test_reasons_for_rejecting_a_request(module, change, says):
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
@pytest.mark.parametrize("case", PROOF_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_real_kernels_agree_on_the_gpu(backend, dtype, case):
    reasons = backend.reasons_here() + backend.reasons_against(case.request("cuda:0", dtype))
    if reasons:
        pytest.skip("; ".join(reasons))

    def call(q, k, v, options):
        return attention(q, k, v, backend=backend.name, **vars(options))

    assert Harness().run(call, case, "cuda:0", dtype).problem is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "backend", [one for one in BACKENDS if not one.stores_table], ids=lambda one: one.name
)
def test_grouped_heads_need_no_table_of_weights_on_the_gpu(backend, dtype):
    case = MemoryCase()
    request = case.request("cuda:0", dtype)
    reasons = backend.reasons_here() + backend.reasons_against(request)
    if reasons:
        pytest.skip("; ".join(reasons))
    for implementation in backend.implementations or (backend,):
        if not implementation.reasons_against(request):
            assert case.problem(implementation.run, "cuda:0", dtype) is None
