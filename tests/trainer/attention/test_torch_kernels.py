"""PyTorch's own CUDA kernels are called correctly, shown with stand-ins that have the real signatures."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.trainer.attention.test_third_party import dense
from trainer.attention import efficient, manual, scaled_dot_product, sdpa, varlen_flash
from trainer.attention.proof_cases import CASES as PROOF_CASES
from trainer.attention.proof_cases import Harness
from trainer.attention.request import AttentionRequest, Options

VARLEN_ATTN = vars(varlen_flash)["varlen_attn"]
IMPLEMENTATIONS = {one.name: one for one in sdpa.IMPLEMENTATIONS}
CASES = [
    (queries, window, key_heads, packed)
    for queries in (40, 13, 1)
    for window in (None, 1, 7)
    for key_heads in (4, 2)
    for packed in (False, True)
]


def in_documents(q, k, v, starts_q, starts_k, scale, window):
    """Attention (tokens, heads, D) within each document, aligned at its last query and key."""
    left = -1 if window is None else window - 1
    queries, keys = starts_q.diff().tolist(), starts_k.diff().tolist()
    assert (sum(queries), sum(keys)) == (len(q), len(k))
    parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    return torch.cat([dense(*part, scale, left, 0) for part in parts])


class VarlenAttn:
    """`torch.nn.attention.varlen.varlen_attn` with its checks and layout; arguments are bound to the real signature."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.__signature__ = inspect.signature(VARLEN_ATTN)

    def __call__(self, *args, **kwargs):
        given = self.__signature__.bind(*args, **kwargs)
        given.apply_defaults()
        a = given.arguments
        self.calls.append(a["window_size"])
        heads = a["query"].shape[1], a["key"].shape[1]
        assert heads[0] == heads[1] or a["enable_gqa"]
        for starts, longest in ((a["cu_seq_q"], a["max_q"]), (a["cu_seq_k"], a["max_k"])):
            assert starts.dtype == torch.int32 and starts.ndim == 1 and starts.is_contiguous()
            assert type(longest) is int and int(starts.diff().max()) == longest
        left, right = a["window_size"]
        assert right == 0 and a["return_aux"] is None
        tokens = (a["query"], a["key"], a["value"], a["cu_seq_q"], a["cu_seq_k"])
        return in_documents(*tokens, a["scale"], None if left == -1 else left + 1)


class Efficient:
    """The two operators of PyTorch's memory-efficient attention, with the argument names of the real schema."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._schemas = [
            getattr(torch.ops.aten, f"_efficient_attention_{name}").default._schema.arguments
            for name in ("forward", "backward")
        ]

    def _named(self, which, args, kwargs):
        known = [argument.name for argument in self._schemas[which] if not argument.kwarg_only]
        named = dict(zip(known, args, strict=False), **kwargs)
        assert set(named) <= {argument.name for argument in self._schemas[which]}
        required = {a.name for a in self._schemas[which] if not a.has_default_value()}
        assert required <= set(named)
        return named

    def _attend(self, a, q, k, v):
        assert q.shape[2] == k.shape[2] == v.shape[2] and a["bias"] is None and a["custom_mask_type"] == 2
        for x in (q, k, v):
            assert x.stride(-1) == 1 and x.stride(-2) % 8 == 0
        options = (a["scale"], a["window_size"])
        if a["cu_seqlens_q"] is not None:
            assert q.shape[0] == 1
            return in_documents(q[0], k[0], v[0], a["cu_seqlens_q"], a["cu_seqlens_k"], *options)[None]
        starts = [torch.tensor([0, x.shape[1]]) for x in (q, k)]
        rows = zip(q, k, v, strict=True)
        return torch.stack([in_documents(a, b, c, starts[0], starts[1], *options) for a, b, c in rows])

    def forward(self, *args, **kwargs):
        a = self._named(0, args, kwargs)
        assert a["compute_log_sumexp"]
        self.calls.append(("forward", a["window_size"]))
        q = a["query"]
        parts = q.shape[0] if a["cu_seqlens_q"] is None else len(a["cu_seqlens_q"]) - 1
        logsumexp = torch.zeros(parts, q.shape[2], -(-a["max_seqlen_q"] // 32) * 32)
        seed, offset = torch.tensor(3), torch.tensor(5)
        return self._attend(a, q, a["key"], a["value"]).detach(), logsumexp, seed, offset, 0, 0

    def backward(self, *args, **kwargs):
        a = self._named(1, args, kwargs)
        self.calls.append(("backward", a["window_size"]))
        assert (int(a["philox_seed"]), int(a["philox_offset"]), a["bias_requires_grad"]) == (3, 5, False)
        if a["window_size"] is not None:  # the kernel aligns the window at the first query
            assert a["query"].shape[1] == a["key"].shape[1]

        def differentiate():
            leaves = [a[name].detach().requires_grad_() for name in ("query", "key", "value")]
            output = self._attend(a, *leaves)
            assert torch.equal(output, a["out"])
            return torch.autograd.grad(output, leaves, a["grad_out_"])

        with ThreadPoolExecutor(1) as elsewhere:  # autograd is off inside an operator
            return *elsewhere.submit(differentiate).result(), None


@pytest.fixture
def kernels(monkeypatch):
    both = {"varlen-flash": VarlenAttn(), "efficient": Efficient()}
    monkeypatch.setattr(varlen_flash, "varlen_attn", both["varlen-flash"])
    for name in ("forward", "backward"):
        monkeypatch.setattr(torch.ops.aten, f"_efficient_attention_{name}", getattr(both["efficient"], name))
    return both


@pytest.mark.skipif(VARLEN_ATTN is None, reason="torch before 2.11")
@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
@pytest.mark.parametrize("name", ["varlen-flash", "efficient"])
def test_same_result_as_the_reference(name, queries, window, key_heads, packed, kernels):
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=random, dtype=torch.float64)
    k, v = torch.randn(2, 2, key_heads, 40, 8, generator=random, dtype=torch.float64).unbind()
    ids = torch.stack([torch.arange(40) // 11, torch.arange(40) // 35]) if packed else None
    leaves = [x.requires_grad_() for x in (q, k, v)]
    options = Options(window, ids, 0.3)
    output, expected = IMPLEMENTATIONS[name].run(q, k, v, options), manual.run(q, k, v, options)
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    torch.testing.assert_close(
        torch.autograd.grad(output, leaves, grad), torch.autograd.grad(expected, leaves, grad)
    )
    if name == "varlen-flash":
        assert kernels[name].calls == [(-1 if window is None else window - 1, 0)]
    else:
        assert kernels[name].calls == [("forward", window), ("backward", window)]


def test_the_fake_kernel_has_the_shapes_of_torchs_own():
    q, k, v = (torch.empty(1, length, 2, 8, device="meta") for length in (37, 50, 50))
    starts = torch.empty(4, dtype=torch.int32, device="meta")
    for limits in ((None, None), (starts, starts)):
        ours = torch.ops.aios.efficient_attention(q, k, v, *limits, 37, 50, 0.0, 0.3, 4)
        theirs = torch.ops.aten._efficient_attention_forward(q, k, v, None, *limits, 37, 50, 0.0, 2, True)
        for mine, wanted in zip(ours, theirs[:4], strict=True):
            assert (mine.shape, mine.dtype, mine.stride()) == (wanted.shape, wanted.dtype, wanted.stride())


GPU = AttentionRequest("cuda:0", "bfloat16", 64, 8, 8, query_length=4096, key_length=4096)
WINDOW = {"window": 512}
IDS, TORN = torch.arange(4096)[None] // 1000, torch.arange(4096)[None] % 2


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of compute capability 8.0 on Linux, where nothing is proven, and a function that changes the capability."""

    def become(*capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)

    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(scaled_dot_product, "chosen_kernel", lambda *_: "FLASH_ATTENTION")
    monkeypatch.setattr(sdpa, "_proven", None)
    become(8, 0)
    for module in (varlen_flash, efficient):
        module._missing_here.cache_clear()
    yield become
    for module in (varlen_flash, efficient):
        module._missing_here.cache_clear()


@pytest.mark.skipif(VARLEN_ATTN is None, reason="torch before 2.11")
@pytest.mark.parametrize(
    ("changes", "document_ids", "capability", "runs"),
    [
        ({}, None, (8, 0), "causal"),
        ({"query_length": 1}, None, (8, 0), "causal"),
        ({"softcap": True}, None, (8, 0), "banded"),
        ({"key_length": 100, "query_length": 100, "window": 51, "softcap": True}, None, (8, 0), "banded"),
        ({"query_length": 9}, None, (8, 0), "varlen-flash"),
        (WINDOW, None, (8, 0), "varlen-flash"),
        (WINDOW, IDS, (9, 0), "varlen-flash"),
        ({"key_heads": 2, **WINDOW}, None, (9, 0), "varlen-flash"),
        (WINDOW, TORN, (9, 0), "banded"),
        ({"dropout": 0.1, **WINDOW}, None, (9, 0), "efficient"),
        ({"dtype": "float32", **WINDOW}, None, (9, 0), "efficient"),
        ({"dtype": "float16", **WINDOW}, None, (7, 5), "efficient"),
        ({"dtype": "bfloat16", **WINDOW}, None, (7, 5), "banded"),
        ({"dtype": "float64", **WINDOW}, None, (9, 0), "banded"),
        ({"head_dim": 256, **WINDOW}, None, (9, 0), "efficient"),
        ({"head_dim": 60, **WINDOW}, None, (9, 0), "banded"),
        ({"head_dim": 60, "key_length": 100, "query_length": 100, "window": 51}, None, (9, 0), "dense"),
        ({"query_length": 1 << 22, "key_length": 1 << 22, **WINDOW}, None, (9, 0), "efficient"),
        ({"dtype": "float32", "query_length": 512, **WINDOW}, None, (9, 0), "efficient"),
    ],
)
def test_the_implementation_that_runs_on_a_gpu(changes, document_ids, capability, runs, gpu):
    gpu(*capability)
    request = replace(GPU, packed=document_ids is not None, **changes)
    assert sdpa.choose(request, document_ids).name == runs


# torch 2.14 or older on Windows: the memory-efficient kernels take no grouped heads (pytorch/pytorch#186343).
NO_FLASH = {True: "MATH", False: "EFFICIENT_ATTENTION"}


@pytest.mark.parametrize(
    ("changes", "proven", "runs"),
    [
        ({}, None, "causal"),
        ({"key_heads": 2}, None, "efficient"),
        ({"key_heads": 2, "head_dim": 60}, None, "banded"),
        ({"key_heads": 2, "query_length": 1}, None, "causal"),
        ({"key_heads": 2}, ("causal", "efficient", "banded"), "efficient"),
        ({"key_heads": 2}, ("causal", "cudnn", "efficient", "banded"), "cudnn"),
        ({}, ("causal", "cudnn", "efficient", "banded"), "cudnn"),
        ({"head_dim": 192}, ("causal", "cudnn", "efficient", "banded"), "causal"),
        ({"dropout": 0.1}, ("causal", "cudnn", "efficient", "banded"), "causal"),
        ({"dtype": "float32"}, ("causal", "cudnn", "efficient", "banded"), "causal"),
        ({"query_length": 1}, ("causal", "cudnn", "efficient", "banded"), "causal"),
        (WINDOW, ("causal", "cudnn", "efficient", "banded"), "efficient"),
        (WINDOW, ("causal",), "banded"),
    ],
)
def test_without_flash_attention_no_call_stores_a_table_of_weights(changes, proven, runs, gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    monkeypatch.setattr(
        scaled_dot_product, "chosen_kernel", lambda device, dtype, head_dim, grouped, *_: NO_FLASH[grouped]
    )
    sdpa.use_proven(proven)
    assert sdpa.choose(replace(GPU, **changes), None).name == runs


def test_cudnn_runs_alone_and_only_where_torch_has_no_flash_attention(gpu, monkeypatch):
    request = replace(GPU, key_heads=2)
    sdpa.use_proven(("cudnn", "causal"))
    assert sdpa.choose(request, None).name == "causal"
    enabled = []

    def look(q, k, v, **_):
        backends = torch.backends.cuda
        enabled.append(
            (backends.cudnn_sdp_enabled(), backends.flash_sdp_enabled(), backends.math_sdp_enabled())
        )
        return q

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", look)
    q, k, v = torch.zeros(3, 1, 2, 8, 8)
    scaled_dot_product.cudnn(q, k, v, Options(None, None, 0.3))
    assert enabled == [(True, False, False)]


@pytest.mark.parametrize(("dropout", "kernel"), [(0.0, "FLASH_ATTENTION"), (0.1, "MATH")])
def test_torch_is_asked_which_kernel_it_runs_on_this_cpu(dropout, kernel):
    with FakeTensorMode():
        assert scaled_dot_product.chosen_kernel("cpu", "float32", 24, True, bool(dropout), True) == kernel
    request = replace(GPU, device="cpu", dtype="float32", dropout=dropout)
    assert sdpa.choose(request, None).name == ("banded" if dropout else "causal")


@pytest.mark.parametrize("module", [varlen_flash, efficient])
def test_cpu_is_refused_with_the_reason(module):
    reasons = module.reasons_against(replace(GPU, device="cpu"))
    assert reasons == ["needs an NVIDIA GPU, and this runs on cpu"]


@pytest.mark.parametrize("module", [varlen_flash, efficient])
def test_torch_without_the_option_is_refused_with_the_reason(module, gpu, monkeypatch):
    monkeypatch.setattr(varlen_flash, "varlen_attn", lambda query, key, value, scale=None: None)
    monkeypatch.setattr(efficient, "_FORWARD", {"window_of_tomorrow"})
    (reason,) = module.reasons_against(replace(GPU, window=2))
    assert reason.endswith(("has no window_size", "has no window_of_tomorrow"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("case", PROOF_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("implementation", sdpa.IMPLEMENTATIONS, ids=lambda one: one.name)
def test_each_implementation_agrees_on_the_gpu(implementation, dtype, case):
    reasons = implementation.reasons_against(case.request("cuda:0", dtype))
    if reasons:
        pytest.skip("; ".join(reasons))
    assert Harness().run(implementation.run, case, "cuda:0", dtype).problem is None
