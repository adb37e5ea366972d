"""Properties for any shape, window and documents: which keys are seen, and the cost in time and memory."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from functorch.compile import make_boxed_func
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer.attention.triple_loop import WAYS
from trainer.attention import attention, banded, banded_weights, blocks, scaled_dot_product
from trainer.attention.proof_cases import visible
from trainer.attention.request import Options

BANDED = {"manual": WAYS["manual"], "sdpa:banded": WAYS["sdpa:banded"]}


@st.composite
def inputs(draw):
    """q, k, v, window, document_ids and cap of scores, of any size up to a few blocks."""
    keys = draw(st.integers(1, 150))
    queries = draw(st.integers(1, keys))
    key_heads, groups = draw(st.sampled_from([(1, 1), (2, 1), (1, 7), (2, 2)]))
    window = draw(st.none() | st.integers(0, keys + 2))
    batch = draw(st.integers(1, 2))
    dim = draw(st.sampled_from([1, 4, 8]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    ids = None
    if draw(st.booleans()):
        starts = torch.rand(batch, keys, generator=random) < draw(st.sampled_from([0.02, 0.2, 1.0]))
        ids = starts.cumsum(1)
        if draw(st.booleans()):
            ids = ids % 2  # documents that are interrupted by others
    shapes = ((batch, key_heads * groups, queries, dim), *[(batch, key_heads, keys, dim)] * 2)
    return (
        [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes],
        window,
        ids,
        draw(st.none() | st.just(0.7)),
    )


@settings(max_examples=60, deadline=None)
@given(inputs())
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_any_shape_agrees_with_dense_attention(backend, drawn):
    tensors, window, ids, softcap = drawn
    leaves = [x.clone().requires_grad_() for x in tensors]
    q, k, v = leaves
    groups, past = q.shape[1] // k.shape[1], k.shape[2] - q.shape[2]
    rows = [None] if ids is None else ids.tolist()
    sees = torch.tensor([visible(k.shape[2], window or None, row)[past:] for row in rows])[:, None]
    scores = q @ k.repeat_interleave(groups, 1).mT / q.shape[3] ** 0.5
    scores = scores if softcap is None else softcap * (scores / softcap).tanh()
    expected = scores.masked_fill(~sees, -torch.inf).softmax(-1) @ v.repeat_interleave(groups, 1)
    options = {"backend": backend, "window": window, "document_ids": ids, "softcap": softcap}
    output = attention(q, k, v, **options)
    torch.testing.assert_close(output, expected)
    grad = torch.ones_like(output).cumsum(2)
    mine, theirs = (torch.autograd.grad(x, leaves, grad) for x in (output, expected))
    torch.testing.assert_close(mine, theirs)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 300), st.integers(1, 40), st.booleans())
def test_blocks_contain_every_key_that_a_query_sees(data, keys, rows, bucketed):
    queries, window = data.draw(st.integers(1, keys)), data.draw(st.integers(1, keys))
    ids = None
    if data.draw(st.booleans()):
        cuts = data.draw(st.lists(st.integers(0, keys), max_size=8))
        ids = torch.tensor([[sum(cut <= key for cut in cuts) for key in range(keys)]])
    found = blocks.blocks(queries, keys, window, rows, ids, bucketed)
    sees = torch.tensor(visible(keys, window, None if ids is None else ids[0].tolist()))[keys - queries :]
    assert [block.first for block in found] == list(range(0, queries, rows))
    assert [block.last for block in found] == [*range(rows, queries, rows), queries]
    for index, block in enumerate(found):
        columns = sees[block.first : block.last].any(0).nonzero().flatten()
        assert 0 <= block.low <= columns.min() and columns.max() < block.seen <= block.high <= keys
        assert block.done <= min((later.low for later in found[index + 1 :]), default=keys)
        if ids is not None and not block.mixed:
            assert len(set(ids[0, block.low : block.seen].tolist())) == 1
    assert found[-1].done == keys
    if bucketed:
        assert len({block.high - block.low for block in found}) <= 3 + math.log(keys, 1.5)


@pytest.mark.parametrize("window", [1, 2, 63, 64, 65, 130, 399, 400])
@pytest.mark.parametrize("way", BANDED)
def test_one_hot_values_show_exactly_the_keys_in_reach(way, window):
    length = 400  # several blocks
    q, k = torch.randn(2, 1, 1, length, 8)
    v = torch.eye(length)[None, None]
    k, q = (torch.nn.functional.pad(x, (0, length - 8)) for x in (k, q))
    weights = BANDED[way](q, k, v, Options(window, None, 1.0))
    assert torch.equal(weights[0, 0] > 0, torch.tensor(visible(length, window, None)))


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_the_key_at_the_edge_of_the_window_is_seen_and_the_one_before_is_not(backend):
    window, i = 70, 250
    q, k, v = torch.randn(3, 1, 2, 300, 8).unbind()
    before = attention(q, k, v, backend=backend, window=window)[:, :, i]
    for distance, moves in ((window, False), (window - 1, True)):
        changed_k, changed_v = k.clone(), v.clone()
        changed_k[:, :, i - distance] += 3
        changed_v[:, :, i - distance] += 3
        after = attention(q, changed_k, changed_v, backend=backend, window=window)[:, :, i]
        assert torch.equal(before, after) is not moves


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_rows_of_a_batch_and_documents_do_not_see_each_other(backend, window):
    q, k, v = torch.randn(3, 2, 2, 200, 8).unbind()
    ids = torch.cat([torch.zeros(2, 90), torch.ones(2, 110)], dim=1).long()
    before = attention(q, k, v, backend=backend, window=window, document_ids=ids)
    k[0, :, :90], v[0, :, :90] = 5, 5
    after = attention(q, k, v, backend=backend, window=window, document_ids=ids)
    assert not torch.equal(before[0, :, :90], after[0, :, :90])
    assert torch.equal(before[0, :, 90:], after[0, :, 90:])
    assert torch.equal(before[1], after[1])


@pytest.mark.parametrize("way", WAYS)
def test_dropout_drops_the_same_weights_in_both_passes_and_keeps_the_scale(way):
    window = None if way == "sdpa:causal" else 50
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 4, 300, 8).double().unbind())
    drops = Options(window, None, 0.3, 0.4)
    full = WAYS[way](q, k, v, Options(window, None, 0.3))
    torch.manual_seed(1)
    output = WAYS[way](q, k, v, drops)
    torch.manual_seed(1)
    assert torch.equal(output, WAYS[way](q, k, v, drops))
    assert not torch.equal(output, WAYS[way](q, k, v, drops))
    scale = ((output * full).sum() / full.square().sum()).item()
    assert abs(scale - 1) < 0.1
    grad = torch.randn_like(output)
    dq, dk, dv = torch.autograd.grad(output, (q, k, v), grad)
    torch.testing.assert_close((output * grad).sum(), (v * dv).sum())  # linear in v
    step = 1e-6 * torch.randn_like(q)
    torch.manual_seed(1)
    moved = WAYS[way](q + step, k + step, v, drops)
    torch.testing.assert_close(
        ((moved - output) * grad).sum(), (step * (dq + dk)).sum(), rtol=1e-3, atol=1e-9
    )


def test_strided_inputs_give_the_same_results_as_contiguous_ones():
    q, k, v = (x.transpose(1, 2) for x in torch.randn(3, 2, 300, 2, 8).unbind())
    for way, call in BANDED.items():
        options = Options(30, None, 0.3)
        strided = call(q, k, v, options)
        torch.testing.assert_close(
            strided, call(q.contiguous(), k.contiguous(), v.contiguous(), options), msg=way
        )


def test_real_block_sizes_agree_with_torch_over_many_blocks():
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 2, 1500, 8).unbind())
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    output = banded.banded(q, k, v, Options(None, None, 8**-0.5))
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    for mine, theirs in zip(
        torch.autograd.grad(output, (q, k, v), grad),
        torch.autograd.grad(expected, (q, k, v), grad),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_splitting_batch_and_heads_does_not_change_the_results(dtype, packed, monkeypatch):
    leaves = [torch.randn(3, heads, 150, 8).to(dtype).requires_grad_() for heads in (10, 5, 5)]
    ids = (torch.arange(150) // torch.tensor([[40], [70], [200]])) if packed else None

    def results():
        output = banded.banded(leaves[0], leaves[1], leaves[2], Options(30, ids, 0.3))
        return output.detach(), *torch.autograd.grad(output.square().sum(), leaves)

    whole = results()
    for pairs in (1, 3, 5, 10):
        monkeypatch.setattr(blocks, "COLUMNS", pairs * 2 * 150)
        torch.testing.assert_close(results(), whole)


def test_dropout_differs_between_parts(monkeypatch):
    monkeypatch.setattr(blocks, "COLUMNS", 1)
    q, k, v = (x.repeat(2, 2, 1, 1).requires_grad_() for x in torch.randn(3, 1, 1, 100, 8).double().unbind())
    output = banded.banded(q, k, v, Options(30, None, 0.3, 0.4))
    assert len({tuple(head.flatten().tolist()) for head in output.flatten(0, 1)}) == 4
    grad = torch.randn_like(output)
    (dv,) = torch.autograd.grad(output, v, grad)
    # The output is linear in v, so this holds only if both passes drop the same weights.
    torch.testing.assert_close((output * grad).sum(), (v * dv).sum())


def test_half_precision_products_have_few_shapes_for_any_documents():
    """torch keeps half a megabyte per shape of a half-precision product on a CPU, so a run used more and more memory."""
    shapes = set()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "bmm" in str(func):
                shapes.add((str(func), *(tuple(x.shape) for x in args)))
            return func(*args, **(kwargs or {}))

    for seed in range(5):
        ids = (torch.rand(2, 2048, generator=torch.Generator().manual_seed(seed)) < 0.01).cumsum(1)
        q, k, v = torch.randn(3, 2, 1, 2048, 8).bfloat16().unbind()
        with Products():
            inputs = (q, k, v, ids, None, 512, 1.0, 0.0, None)
            banded.backward(banded.forward(*inputs), *inputs)
    assert 0 < len(shapes) <= 8 * 5  # 8 products, each with 5 bucket sizes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("way", BANDED)
def test_half_precision_loses_no_more_than_torch_with_a_mask(way, dtype):
    """With scores rounded to half precision before the softmax, errors were two to six times as large."""
    q, k, v, grad = (torch.randn(4, 1, 4, 300, 64).to(dtype)).unbind()
    q = q * 4
    options = Options(100, None, 0.125)

    def results(call, kind):
        leaves = [x.to(kind).requires_grad_() for x in (q, k, v)]
        output = call(*leaves, options)
        return [x.double() for x in (output, *torch.autograd.grad(output, leaves, grad.to(kind)))]

    exact = results(scaled_dot_product.dense, torch.float64)
    for mine, theirs, wanted in zip(
        results(BANDED[way], dtype), results(scaled_dot_product.dense, dtype), exact, strict=True
    ):
        assert (mine - wanted).norm() <= 1.1 * (theirs - wanted).norm()


@pytest.mark.parametrize("way", BANDED)
def test_a_row_whose_weights_are_all_dropped_is_zero(way):
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 1, 300, 8).bfloat16().unbind())
    output = BANDED[way](q, k, v, Options(2, None, 0.3, 0.9))
    gradients = torch.autograd.grad(output.sum(), (q, k, v))
    assert bool((output == 0).all(-1).any()) and all(bool(x.isfinite().all()) for x in (output, *gradients))


@pytest.mark.parametrize("way", BANDED)
def test_scores_beyond_the_range_of_fp16_do_not_give_nan(way):
    q, k, v = torch.randn(3, 1, 1, 200, 64).half().unbind()
    q, k, v = (x.requires_grad_() for x in (q * 1000, k * 30, v))
    output = BANDED[way](q, k, v, Options(20, None, 0.125))
    gradients = torch.autograd.grad(output.sum(), (q, k, v))
    assert all(bool(x.isfinite().all()) for x in (output, *gradients))


def test_backward_inside_autocast_is_as_exact_as_outside():
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 2, 200, 8).unbind())
    outside = torch.autograd.grad(attention(q, k, v, window=50).sum(), (q, k, v))
    output = attention(q, k, v, window=50)
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(output.sum(), (q, k, v))
    assert all(torch.equal(x, y) for x, y in zip(inside, outside, strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_drop_the_same_weights(reentrant):
    leaves = [x.requires_grad_() for x in torch.randn(3, 1, 2, 200, 8).unbind()]
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        call = partial(attention, window=50, dropout=0.3)
        output = checkpoint(call, *leaves, use_reentrant=reentrant) if recomputed else call(*leaves)
        output.sum().backward()
        gradients.append([output.detach(), *(leaf.grad for leaf in leaves)])
        for leaf in leaves:
            leaf.grad = None
    assert all(torch.equal(x, y) for x, y in zip(*gradients, strict=True))


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_only_the_requested_gradients_are_computed(backend):
    q, k, v = torch.randn(3, 1, 2, 200, 8).unbind()
    every = [x.clone().requires_grad_() for x in (q, k, v)]
    expected = torch.autograd.grad(attention(*every, backend=backend, window=50).sum(), every)
    for chosen in range(3):
        some = [x.clone().requires_grad_(index == chosen) for index, x in enumerate((q, k, v))]
        output = attention(*some, backend=backend, window=50)
        (got,) = torch.autograd.grad(output.sum(), some[chosen])
        assert torch.equal(got, expected[chosen])


def test_inference_mode_and_threads_change_nothing():
    q, k, v = torch.randn(3, 1, 2, 300, 8).unbind()
    expected = attention(q, k, v, window=50)

    def infer(_):
        with torch.inference_mode():
            return attention(q, k, v, window=50)

    with ThreadPoolExecutor(2) as pool:
        assert all(torch.equal(output, expected) for output in pool.map(infer, range(8)))


COMPILING = pytest.mark.filterwarnings("default", "error:Dynamo detected a call to a `functools.lru_cache`")


def compiled(call, *leaves, whole=True):
    """[output, gradients] of compiled code, and the names of the operators in its graphs."""
    operators: list[str] = []

    def look(graph, _):
        operators.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return make_boxed_func(graph)

    torch.compiler.reset()
    backend = aot_autograd(fw_compiler=look, bw_compiler=look)
    output = torch.compile(call, backend=backend, fullgraph=whole)(*leaves)
    return (output, *torch.autograd.grad(output.sum(), leaves)), operators


@COMPILING
@pytest.mark.parametrize(("packed", "dropout"), [(False, 0.0), (True, 0.2)])
def test_a_compiler_sees_one_operator_and_not_a_loop(packed, dropout):
    """Unrolled blocks of a long sequence took 39 s to compile."""
    leaves = [x.requires_grad_() for x in torch.randn(3, 1, 2, 1000, 8).unbind()]
    ids = (torch.arange(1000) // 90)[None] if packed else None

    def step(q, k, v):
        return attention(q * 2, k, v, backend="sdpa", window=50, document_ids=ids, dropout=dropout) + 1

    torch.manual_seed(0)
    expected = step(*leaves)
    expected = (expected, *torch.autograd.grad(expected.sum(), leaves))
    torch.manual_seed(0)
    results, operators = compiled(step, *leaves)
    torch.testing.assert_close(results, expected)
    assert len(operators) < 15
    assert [name for name in operators if name.startswith("aios")] == [
        "aios.banded_attention.default",
        "aios.banded_attention_backward.default",
    ]


@pytest.mark.slow
@COMPILING
def test_the_manual_backend_can_be_compiled():
    leaves = [x.requires_grad_() for x in torch.randn(3, 1, 2, 200, 8).unbind()]
    call = partial(attention, backend="manual", window=50)
    expected = call(*leaves)
    results, _ = compiled(call, *leaves, whole=False)
    torch.testing.assert_close(results, (expected, *torch.autograd.grad(expected.sum(), leaves)))


def test_operators_pass_opcheck():
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 2, 20, 4).unbind())
    torch.library.opcheck(
        torch.ops.aios.banded_attention.default,
        (q, k, v, None, None, 7, 0.5, 0.0, 2.0),
        test_utils=(
            "test_schema",
            "test_autograd_registration",
            "test_faketensor",
            "test_aot_dispatch_static",
        ),
    )


def test_a_second_derivative_is_refused():
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 1, 300, 4).unbind())
    (dq,) = torch.autograd.grad(attention(q, k, v, window=9).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        dq.sum().backward()


@pytest.mark.parametrize("packed", [False, True])
def test_gradients_agree_with_finite_differences(packed, monkeypatch):
    monkeypatch.setattr(banded_weights, "rows_per_block", lambda q, window: 4)
    q = torch.randn(1, 4, 9, 2, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(1, 2, 13, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ids = torch.tensor([[0, 0, 1, 1, 0, 1, 1, 2, 2, 2, 2, 3, 2]]) if packed else None
    assert torch.autograd.gradcheck(lambda q, k, v: banded.banded(q, k, v, Options(5, ids, 0.7)), (q, k, v))


def test_results_agree_with_the_local_attention_package():
    local = pytest.importorskip("local_attention")
    window = 16
    q, k, v = torch.randn(3, 2, 2, 150, 8).unbind()
    theirs = local.LocalAttention(
        window_size=window - 1,  # its window is one key larger than this
        causal=True,
        exact_windowsize=True,
        use_rotary_pos_emb=False,
        autopad=True,
    )
    expected = theirs(q, k, v)
    for backend in ("sdpa", "manual"):
        torch.testing.assert_close(attention(q, k, v, backend=backend, window=window), expected)


class LargestTensor(TorchDispatchMode):
    """Record the number of elements of the largest new tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and not leaf._is_view():
                self.elements = max(self.elements, leaf.numel())
        return result


def forward_and_backward(backend: str, length: int, window: int | None, packed: bool = False) -> None:
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 1, length, 8).unbind())
    ids = (torch.arange(length) // 300)[None] if packed else None
    if backend == "manual":
        attention(q, k, v, backend=backend, window=window, document_ids=ids).sum().backward()
    else:  # what torch sees as one operator, from inside
        inputs = (q.detach(), k.detach(), v.detach(), ids, None, window or length, 1.0, 0.0, None)
        banded.backward(torch.ones_like(banded.forward(*inputs)), *inputs)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_windowed_memory_does_not_grow_with_the_square_of_the_length(backend, packed):
    length, window = 2048, 64
    with LargestTensor() as largest:
        forward_and_backward(backend, length, window, packed)
    assert largest.elements <= length * 2 * window < length**2 / 8


def test_strided_heads_do_not_use_memory_quadratic_in_the_length():
    length = 1024
    q, k, v = (x.requires_grad_() for x in torch.randn(3, 1, 1, 8, length).mT.unbind())
    with LargestTensor() as largest:
        attention(q, k, v).sum().backward()
    assert largest.elements < length**2 / 8


def test_sdpa_with_documents_does_not_use_memory_quadratic_in_the_length():
    length = 2048
    with LargestTensor() as largest:
        forward_and_backward("sdpa", length, None, packed=True)
    assert largest.elements <= 2 * 128 * length


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_windowed_flops_grow_linearly_with_the_length(backend):
    def flops(length: int) -> int:
        with FlopCounterMode(display=False) as counter:
            forward_and_backward(backend, length, 64)
        return counter.get_total_flops()

    assert 0 < flops(2048) <= 2.1 * flops(1024)


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_flops_on_short_documents_grow_linearly_with_the_length(backend):
    def flops(length: int) -> int:
        with FlopCounterMode(display=False) as counter:
            forward_and_backward(backend, length, None, packed=True)
        return counter.get_total_flops()

    assert 0 < flops(2400) <= 2.1 * flops(1200)


def test_a_window_as_long_as_the_sequence_takes_the_code_path_without_a_window(monkeypatch):
    monkeypatch.setattr(banded, "_forward", None)
    length = 300
    q, k, v = torch.randn(3, 1, 1, length, 8).unbind()
    expected = attention(q, k, v)
    for window in (0, length, length + 1, 10 * length):
        assert torch.equal(attention(q, k, v, window=window), expected)
