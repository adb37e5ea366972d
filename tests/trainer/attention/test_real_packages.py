"""The real Python layers of flash-attn, flash-attn-4, xformers and kernels; only what needs a GPU is replaced.

So names, order, defaults and checks of arguments are those of the packages.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from doctor.capability import NO_HUB_KERNELS_ON_WINDOWS
from tests.trainer.attention import third_party
from tests.trainer.attention.test_parity import WINDOWS, cases
from tests.trainer.attention.test_third_party import CASES, dense
from tests.trainer.attention.triple_loop import triple_loop
from trainer.attention import flash_attn_2, flash_attn_4, hub_kernels, manual, xformers
from trainer.attention.definition import effective_window
from trainer.attention.request import Options


def check(run: Any, queries: int, window: int | None, key_heads: int, packed: bool) -> None:
    """`run` agrees with the reference in output and gradients."""
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=random, dtype=torch.float64)
    k, v = torch.randn(2, 2, key_heads, 40, 8, generator=random, dtype=torch.float64).unbind()
    ids = torch.stack([torch.arange(40) // 11, torch.arange(40) // 35]) if packed else None
    leaves = [x.requires_grad_() for x in (q, k, v)]
    options = Options(window, ids, 0.3)
    output, expected = run(q, k, v, options), manual.run(q, k, v, options)
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    torch.testing.assert_close(
        torch.autograd.grad(output, leaves, grad), torch.autograd.grad(expected, leaves, grad)
    )


class FlashAttn2Cuda(ModuleType):
    """Replaces the compiled module `flash_attn_2_cuda`: its four functions, with the positional arguments of their caller."""

    def __init__(self) -> None:
        super().__init__("flash_attn_2_cuda")

    @staticmethod
    def _attend(
        q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, left: int, right: int, cap: float
    ) -> Tensor:
        return dense(q, k, v, scale, left, 0 if causal else right, softcap=cap)

    def _rows(self, q, k, v, *options):
        return torch.stack([self._attend(*row, *options) for row in zip(q, k, v, strict=True)])

    def _documents(self, q, k, v, starts_q, starts_k, *options):
        queries, keys = starts_q.diff().tolist(), starts_k.diff().tolist()
        parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
        return torch.cat([self._attend(*part, *options) for part in parts])

    @staticmethod
    def _result(output: Tensor) -> tuple[Tensor, ...]:
        return output.detach(), torch.zeros(1), torch.zeros(0), torch.zeros(2, dtype=torch.int64)

    def fwd(self, q, k, v, out, alibi, dropout, scale, causal, left, right, cap, weights, generator):
        assert (out, alibi, generator) == (None, None, None) and not weights and dropout == 0.0
        return self._result(self._rows(q, k, v, scale, causal, left, right, cap))

    def varlen_fwd(
        self, q, k, v, out, starts_q, starts_k, used, leftpad, table, alibi, longest_q, longest_k, dropout, scale,
        zero, causal, left, right, cap, weights, generator,
    ):  # fmt: skip
        assert {out, used, leftpad, table, alibi, generator} == {None} and dropout == 0.0 and not zero
        assert int(starts_q.diff().max()) == longest_q and int(starts_k.diff().max()) == longest_k
        return self._result(self._documents(q, k, v, starts_q, starts_k, scale, causal, left, right, cap))

    @staticmethod
    def _differentiate(call, dout, inputs, outputs):
        def gradients():
            leaves = [x.detach().requires_grad_() for x in inputs]
            return torch.autograd.grad(call(*leaves), leaves, dout)

        with ThreadPoolExecutor(1) as elsewhere:  # autograd is off inside an operator
            for output, gradient in zip(outputs, elsewhere.submit(gradients).result(), strict=True):
                output.copy_(gradient)
        return *outputs, torch.zeros(1)

    def bwd(
        self, dout, q, k, v, out, lse, dq, dk, dv, alibi, dropout, scale, causal, left, right, cap, deterministic,
        generator, state,
    ):  # fmt: skip
        return self._differentiate(
            lambda q, k, v: self._rows(q, k, v, scale, causal, left, right, cap),
            dout,
            (q, k, v),
            (dq, dk, dv),
        )

    def varlen_bwd(
        self, dout, q, k, v, out, lse, dq, dk, dv, starts_q, starts_k, alibi, longest_q, longest_k, dropout, scale,
        zero, causal, left, right, cap, deterministic, generator, state,
    ):  # fmt: skip
        options = (scale, causal, left, right, cap)
        return self._differentiate(
            lambda q, k, v: self._documents(q, k, v, starts_q, starts_k, *options),
            dout,
            (q, k, v),
            (dq, dk, dv),
        )


@pytest.fixture(scope="module")
def flash_attn() -> ModuleType:
    """The real package flash_attn over a stand-in of its compiled module. Its operators exist once in a process."""
    with third_party.importable("flash-attn"), pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "flash_attn_2_cuda", FlashAttn2Cuda())
        import flash_attn
        from flash_attn import flash_attn_interface as interface
    for name in ("forward", "backward", "varlen_forward", "varlen_backward"):
        operator = getattr(interface, f"_flash_attn_{name}")
        operator.register_kernel("cpu", operator._init_fn)  # the package registers it only for CUDA
    package: ModuleType = flash_attn
    return package


RUNS = {
    "flash_attn": flash_attn_2,
    "flash_attn_cute": flash_attn_4,
    "kernel_folder": hub_kernels,
    "real_biases": xformers,
}
# The continuous integration runs every eleventh case of the parity matrix; `-m long` runs all.
SHARES = [pytest.param(11, id="sample"), pytest.param(1, id="all", marks=pytest.mark.long)]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("package", RUNS)
def test_parity_with_the_triple_loop(package, window, share, request, monkeypatch):
    """With contiguous documents and a head dimension of 8. Only packages with the interface of flash-attn cap scores."""
    made = request.getfixturevalue(package)
    if package == "flash_attn":
        monkeypatch.setitem(sys.modules, "flash_attn", made)
    contiguous = [
        replace(case, documents="contiguous") if case.documents == "random" else case
        for case in cases(window)
    ]
    for case in [replace(case, head_dim=8) for case in contiguous][::share]:
        if case.softcap and package == "real_biases":
            continue
        answer = triple_loop(case)
        leaves = [x.clone().requires_grad_() for x in (answer.q, answer.k, answer.v)]
        settings = Options(
            effective_window(case.window, case.keys),
            answer.document_ids,
            case.head_dim**-0.5,
            softcap=case.softcap,
        )
        output = RUNS[package].run(*leaves, settings)
        got = (output, *torch.autograd.grad(output, leaves, answer.grad))
        for name, mine, theirs in zip(("output", "dq", "dk", "dv"), got, answer.expected, strict=True):
            error = (mine - theirs).abs().max()
            assert error <= 1e-12, f"{name} of {case} is off by {error:.2g}"


@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
def test_flash_attn(queries, window, key_heads, packed, flash_attn, monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", flash_attn)
    check(flash_attn_2.run, queries, window, key_heads, packed)


def test_flash_attn_has_every_option_that_is_used(flash_attn):
    assert flash_attn_2.lacking_options(flash_attn, flash_attn_2.OPTIONS) is None
    assert "has no tomorrow" in str(flash_attn_2.lacking_options(flash_attn, {"tomorrow"}))


def signature_of(source: str, name: str) -> inspect.Signature:
    """The signature of a function in a file that cannot be imported here; defaults are literals."""
    (found,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    given = found.args
    assert not (given.posonlyargs or given.kwonlyargs or given.vararg or given.kwarg)
    missing = len(given.args) - len(given.defaults)
    defaults = [inspect.Parameter.empty] * missing + [ast.literal_eval(each) for each in given.defaults]
    return inspect.Signature(
        [
            inspect.Parameter(argument.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
            for argument, default in zip(given.args, defaults, strict=True)
        ]
    )


class FlashAttnCute(ModuleType):
    """The package flash_attn.cute, which cannot be imported without CUDA: its real signatures over a stand-in."""

    def __init__(self, source: str) -> None:
        super().__init__("flash_attn.cute")
        for name in ("flash_attn_func", "flash_attn_varlen_func"):
            setattr(self, name, self._function(signature_of(source, name)))

    def _function(self, signature: inspect.Signature) -> Any:
        def call(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return self._attend(**bound.arguments), None

        vars(call)["__signature__"] = signature
        return call

    def _attend(self, q, k, v, softmax_scale, causal, window_size, softcap, **others):
        """Attention by the package's rules: None is no limit, and a causal call sees nothing after the query."""
        limits = {"cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"}
        assert not any(value for name, value in others.items() if name not in limits | {"num_splits"})
        left, right = (-1 if limit is None else limit for limit in window_size)
        options = (softmax_scale, left, 0 if causal else right, True, softcap)
        if others.get("cu_seqlens_q") is None:
            return torch.stack([dense(*row, *options) for row in zip(q, k, v, strict=True)])
        queries, keys = (others[f"cu_seqlens_{side}"].diff().tolist() for side in "qk")
        assert (max(queries), max(keys)) == (others["max_seqlen_q"], others["max_seqlen_k"])
        parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
        return torch.cat([dense(*part, *options) for part in parts])


@pytest.fixture(scope="module")
def cute() -> FlashAttnCute:
    interface = third_party.folder("flash-attn-4") / "flash_attn" / "cute" / "interface.py"
    return FlashAttnCute(interface.read_text(encoding="utf-8"))


@pytest.fixture
def flash_attn_cute(cute: FlashAttnCute, monkeypatch: pytest.MonkeyPatch) -> FlashAttnCute:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.cute", cute)
    return cute


@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
def test_flash_attn_4(queries, window, key_heads, packed, flash_attn_cute):
    check(flash_attn_4.run, queries, window, key_heads, packed)


def test_flash_attn_4_caps_scores(flash_attn_cute):
    q, k, v = torch.randn(3, 1, 2, 40, 8, dtype=torch.float64).unbind()
    for ids in (None, (torch.arange(40) // 11)[None]):
        options = Options(5, ids, 0.9, softcap=0.4)
        torch.testing.assert_close(flash_attn_4.run(q, k, v, options), manual.run(q, k, v, options))


def test_flash_attn_4_needs_hopper_or_newer(flash_attn_cute, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.0.0b36")
    for capability, says in (
        ((8, 9), "compute capability 9.0 or newer, and the GPU has 8.9"),
        ((9, 0), None),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index, found=capability: found)
        reasons = flash_attn_4.reasons_here()
        assert says in reasons[0] if says else reasons == []


@pytest.fixture(scope="module")
def xformers_package() -> SimpleNamespace:
    """The real xformers, without its compiled kernels."""
    with third_party.importable("xformers"):
        import xformers.ops
        from xformers.ops.fmha import attn_bias
    return SimpleNamespace(package=xformers, ops=xformers.ops, biases=attn_bias)


@pytest.fixture
def real_biases(xformers_package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The real bias classes and signature, over explicit products with the mask that the bias itself makes."""
    biases, calls = xformers_package.biases, []
    signature = inspect.signature(xformers_package.ops.memory_efficient_attention)

    def attend(*args: Any, **kwargs: Any) -> Tensor:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        a = bound.arguments
        query, key, value, bias = a["query"], a["key"], a["value"], a["attn_bias"]
        assert (a["p"], a["op"], a["output_dtype"]) == (0.0, None, None)
        shape = query.shape
        if query.ndim == 5:
            query, key, value = (x.flatten(2, 3) for x in (query, key, value))
        calls.append(bias)
        table = bias.materialize((1, 1, query.shape[1], key.shape[1]), dtype=query.dtype)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * a["scale"] + table
        return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).view(shape)

    # Its tensors go through pinned memory, which needs a GPU.
    monkeypatch.setattr(
        biases,
        "_to_device_tensor",
        lambda values, dtype, device: torch.tensor(values, dtype=dtype, device=device),
    )
    ops = third_party.stand_in("xformers.ops", memory_efficient_attention=attend)
    monkeypatch.setattr(xformers, "_ops", lambda: ops)
    monkeypatch.setattr(xformers, "_biases", lambda: biases)
    yield calls


@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
def test_xformers(queries, window, key_heads, packed, real_biases):
    check(xformers.run, queries, window, key_heads, packed)
    (bias,) = real_biases
    assert packed == type(bias).__name__.startswith("BlockDiagonal")


KERNEL = """
from tests.trainer.attention.test_third_party import FlashAttn

_functions = FlashAttn()
flash_attn_func = _functions.flash_attn_func
flash_attn_varlen_func = _functions.flash_attn_varlen_func
"""
METADATA = {
    "id": "_our_attention_1",
    "name": "our-attention",
    "version": 1,
    "license": "apache-2.0",
    "python-depends": [],
    "backend": {"type": "cpu"},
}


@pytest.fixture(scope="module")
def kernels_package() -> Iterator[ModuleType]:
    """The real package `kernels`."""
    with third_party.importable("kernels"):
        try:
            import kernels
        except ImportError as error:  # an older huggingface_hub
            pytest.skip(f"kernels cannot be imported here: {error}")

        yield kernels


@pytest.fixture
def kernels(kernels_package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The real package, found like an installed one."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return kernels_package


@pytest.fixture
def kernel_folder(kernels, tmp_path, monkeypatch):
    """A kernel folder that `kernels` can load, with the two functions of flash-attn."""
    folder = tmp_path / "Zoë's kernel"
    variant = folder / "build" / "torch-cpu"
    variant.mkdir(parents=True)
    (variant / "__init__.py").write_text(KERNEL, encoding="utf-8")
    (variant / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    monkeypatch.setenv(hub_kernels.FOLDER, str(folder))
    hub_kernels._kernel.cache_clear()
    yield folder
    hub_kernels._kernel.cache_clear()


@pytest.mark.parametrize(("queries", "window", "key_heads", "packed"), CASES)
def test_hub_kernels(queries, window, key_heads, packed, kernel_folder):
    check(hub_kernels.run, queries, window, key_heads, packed)


def test_hub_kernels_without_a_kernel_says_how_to_get_one(kernels, tmp_path, monkeypatch):
    monkeypatch.delenv(hub_kernels.FOLDER, raising=False)
    hub_kernels._kernel.cache_clear()
    (reason,) = hub_kernels.reasons_here()
    assert (
        "Version" in reason
        and "'kernels-community/flash-attn2' is not available in the local cache" in reason
    )
    assert reason.endswith(hub_kernels.DOWNLOAD)
    monkeypatch.setenv(hub_kernels.FOLDER, str(tmp_path))
    assert "Cannot find a build variant for this system" in hub_kernels.reasons_here()[0]
    hub_kernels._kernel.cache_clear()


def test_hub_kernels_needs_a_gpu_and_the_options(kernel_folder, monkeypatch):
    assert hub_kernels.missing() is None
    assert hub_kernels.reasons_here() == ["needs an NVIDIA GPU that torch can use"]
    monkeypatch.setattr(hub_kernels, "lacking_gpu", lambda needed: None)
    assert hub_kernels.reasons_here() == []


def test_hub_kernels_on_windows_says_why_not(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert hub_kernels.reasons_here() == [NO_HUB_KERNELS_ON_WINDOWS]
