"""The chunked loss, compared with torch's own on full logits, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.learning import cross_entropy
from trainer.learning.cross_entropy import Head, score, summed_cross_entropy, token_cross_entropies

Gradients = tuple[Tensor, ...]


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def reference(hidden: Tensor, head: Head, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and logits according to the definition."""
    logits = F.linear(hidden, head.weight, head.bias) * head.scale
    if head.softcap:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-100, reduction="sum")
    return loss, logits


def problem(
    shape: tuple[int, ...], vocabulary: int, width: int, dtype: torch.dtype = torch.float64, **head: Any
) -> tuple[Tensor, Head, Tensor]:
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(0, vocabulary, shape, generator=generator)
    targets[torch.rand(shape, generator=generator) < 0.2] = -100
    weight = random(vocabulary, width, seed=1, dtype=dtype).requires_grad_()
    bias = random(vocabulary, seed=2, dtype=dtype).requires_grad_() if head.pop("bias", False) else None
    hidden = random(*shape, width, seed=0, dtype=dtype).requires_grad_()
    return hidden, Head(weight, bias, **head), targets


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cross_entropy.CHUNKS, "cpu", (200, 60))
    monkeypatch.setattr(cross_entropy, "FEWEST_TOKENS", 4)


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    vocabulary=st.integers(2, 40),
    bias=st.booleans(),
    scale=st.sampled_from([1.0, 0.25, 3.0]),
    softcap=st.sampled_from([None, 0.5, 30.0]),
    of_loss=st.sampled_from([1.0, 0.01, 65536.0]),
)
def test_loss_gradients_and_accuracy_equal_those_of_full_logits(
    batch: int,
    length: int,
    vocabulary: int,
    bias: bool,
    scale: float,
    softcap: float | None,
    of_loss: float,
) -> None:
    hidden, head, targets = problem((batch, length), vocabulary, 5, bias=bias, scale=scale, softcap=softcap)
    inputs = [x for x in (hidden, head.weight, head.bias) if x is not None]
    expected, logits = reference(hidden, head, targets)
    loss = summed_cross_entropy(hidden, head, targets, torch.float64)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss * of_loss, inputs)
    torch.testing.assert_close(found, torch.autograd.grad(expected * of_loss, inputs))
    nats, correct = score(hidden, head, targets, torch.float64)
    torch.testing.assert_close(nats, expected.detach())
    assert correct == (logits.argmax(-1) == targets).sum()


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 9),
    vocabulary=st.integers(2, 40),
    bias=st.booleans(),
    softcap=st.sampled_from([None, 0.5, 30.0]),
    factor=st.sampled_from([1.0, 1e-6, 65536.0]),
)
def test_cross_entropies_of_tokens_can_have_any_factors(
    length: int, vocabulary: int, bias: bool, softcap: float | None, factor: float
) -> None:
    hidden, head, targets = problem((2, length), vocabulary, 5, bias=bias, softcap=softcap)
    inputs = [x for x in (hidden, head.weight, head.bias) if x is not None]
    _, logits = reference(hidden, head, targets)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none")
    nats = token_cross_entropies(hidden, head, targets, torch.float64)
    torch.testing.assert_close(nats.flatten(), expected)
    factors = factor * random(2, length, seed=7)
    found = torch.autograd.grad((nats * factors).sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad((expected * factors.flatten()).sum(), inputs))
    of_logits = token_cross_entropies(logits.detach(), None, targets, torch.float64)
    torch.testing.assert_close(of_logits.double(), nats.detach(), rtol=1e-5, atol=1e-6)


def test_factors_of_a_gradient_scaler_do_not_overflow_float16() -> None:
    hidden, head, targets = problem((2, 7), 11, 4, torch.float32)
    expected, _ = reference(hidden, head, targets)
    nats = token_cross_entropies(hidden, head, targets, torch.float16)
    found = torch.autograd.grad((nats * 2.0**20).sum(), hidden)
    torch.testing.assert_close(found, torch.autograd.grad(expected * 2.0**20, hidden), rtol=1e-2, atol=2e4)


def test_tokens_without_a_target_do_not_go_through_the_output_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    real, rows = torch.mm, []

    def counted(a: Tensor, b: Tensor, **more: Any) -> Tensor:
        rows.append(len(a))
        return real(a, b, **more)

    monkeypatch.setattr(torch, "mm", counted)
    hidden, head, targets = problem((4, 30), 11, 4)
    summed_cross_entropy(hidden, head, targets, torch.float64)
    assert sum(rows) == (targets != -100).sum() < targets.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_products_are_as_exact_as_with_autocast(dtype: torch.dtype) -> None:
    hidden, head, targets = problem((3, 40), 3000, 32, torch.float32)
    inputs = (hidden, head.weight)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected, _ = reference(exact[0], Head(exact[1]), targets)
    ours = summed_cross_entropy(hidden, head, targets, dtype)
    with torch.autocast("cpu", dtype):
        theirs, _ = reference(hidden, head, targets)
    assert abs(ours - expected) < 1.01 * abs(theirs - expected) + 1e-6 * expected
    triples = zip(
        *(torch.autograd.grad(*x) for x in ((ours, inputs), (theirs, inputs), (expected, exact))), strict=True
    )
    for our, their, right in triples:
        assert our.dtype == torch.float32
        assert (our - right).norm() < 1.05 * (their - right).norm() + 1e-6 * right.norm()


def test_float16_represents_small_probabilities_without_a_loss_scale() -> None:
    weight = torch.tensor([0.0, -10.0, -14.0, -16.0, -17.0])[:, None].requires_grad_()
    loss = summed_cross_entropy(torch.ones(1, 1), Head(weight), torch.tensor([0]), torch.float16)
    [found] = torch.autograd.grad(loss, weight)
    torch.testing.assert_close(found[1:], weight.detach().softmax(0)[1:], rtol=2e-3, atol=0)


def test_tensors_that_need_no_gradient_get_none() -> None:
    hidden, head, targets = problem((2, 7), 11, 4)
    whole = torch.autograd.grad(reference(hidden, head, targets)[0], (hidden, head.weight))
    frozen = summed_cross_entropy(hidden, Head(head.weight.detach()), targets, torch.float64)
    torch.testing.assert_close(torch.autograd.grad(frozen, hidden), whole[:1])
    fixed = summed_cross_entropy(hidden.detach(), head, targets, torch.float64)
    torch.testing.assert_close(torch.autograd.grad(fixed, head.weight), whole[1:])
    assert not summed_cross_entropy(
        hidden.detach(), Head(head.weight.detach()), targets, torch.float64
    ).requires_grad
    with torch.no_grad():
        assert not summed_cross_entropy(hidden, head, targets, torch.float64).requires_grad


def test_embeddings_tied_to_the_head_get_both_gradients() -> None:
    tokens = torch.tensor([[1, 2, 3, 1]])
    found = []
    for loss_of in (
        lambda hidden, head, targets: summed_cross_entropy(hidden, head, targets, torch.float64),
        lambda hidden, head, targets: reference(hidden, head, targets)[0],
    ):
        table = random(5, 3, seed=0).requires_grad_()
        loss_of(table[tokens], Head(table), tokens.roll(-1, 1)).backward()
        found.append(table.grad)
    torch.testing.assert_close(*found)


def test_extreme_logits_stay_finite() -> None:
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    hidden = torch.tensor([[1e4], [-1e4], [3e38]], requires_grad=True)
    targets = torch.tensor([1, 1, 0])
    loss = summed_cross_entropy(hidden, Head(weight), targets, torch.float32)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert hidden.grad is not None and hidden.grad.flatten().tolist() == [2.0, 0.0, 0.0]


def test_ignored_targets_alone_give_zero_loss_and_gradient() -> None:
    hidden, head, _ = problem((2, 3), 7, 4, bias=True)
    loss = summed_cross_entropy(hidden, head, torch.full((2, 3), -100), torch.float64)
    assert head.bias is not None
    gradients = torch.autograd.grad(loss, (hidden, head.weight, head.bias))
    assert loss == 0 and all(not gradient.any() for gradient in gradients)


def test_an_outer_autocast_changes_nothing() -> None:
    hidden, head, targets = problem((2, 7), 11, 4, torch.float32)
    plain = torch.autograd.grad(summed_cross_entropy(hidden, head, targets, torch.float32), head.weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_cross_entropy(hidden, head, targets, torch.float32)
    assert torch.equal(torch.autograd.grad(loss, head.weight)[0], plain[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_tensor_does_not_grow_with_the_sequence(dtype: torch.dtype) -> None:
    """The sizes of all tensors that torch creates, seen by its dispatcher."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for made in result if isinstance(result, tuple) else (result,):
                if isinstance(made, Tensor):
                    self.numbers = max(self.numbers, made.untyped_storage().nbytes() // made.itemsize)
            return result

    largest = []
    for length in (64, 256):
        hidden, head, targets = problem((1, length), 512, 4, torch.float32)
        with Largest() as seen:
            summed_cross_entropy(hidden, head, targets, dtype).backward()
        largest.append(seen.numbers)
    assert largest == [4 * 512, 4 * 512]
