"""The training objective of HRM ACT v1: each part of its loss, the segments that count for each token, and causality."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, cross_entropy

from tests.trainer.hrm.plain_hrm import segments, weights_of
from tests.trainer.hrm.test_model import build, some
from trainer.data import Batch
from trainer.device import Precision
from trainer.hrm import halting
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import Part
from trainer.models.model import checkpoint_activations

FULL = Precision(torch.float32)


def batch(rows: int = 3, length: int = 10, ignored: int = 2) -> Batch:
    tokens = some(rows, length + 1)
    targets = tokens[:, 1:].clone()
    targets[:, :ignored] = -100
    return Batch(tokens[:, :-1], targets, None)


def backpropagated(parts: Iterator[Part], network: Any) -> tuple[float, dict[str, float], dict[str, Tensor]]:
    """The total loss, the measured figures, and the accumulated gradients of all parts."""
    loss, measured = 0.0, dict[str, float]()
    for part in parts:
        torch.autograd.backward(part.loss)
        loss += part.loss.item()
        measured = {name: measured.get(name, 0.0) + value.item() for name, value in part.measured.items()}
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    return loss, measured, gradients


def by_hand(
    network: Any, weights: dict[str, Tensor], rows: Batch, at_least: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and the measured figures, one token at a time, from the plain float64 model."""
    total, figures = torch.zeros((), dtype=torch.float64), dict.fromkeys(NAMES, 0.0)
    maximum = network.config.halt_max_steps
    for row, targets in enumerate(rows.targets):
        found = segments(weights, network.config, rows.tokens[row])
        for t, target in enumerate(targets.tolist()):
            if target == -100:
                continue
            for number, (logits, q_halt, q_continue) in enumerate(found, start=1):
                ends = number == maximum or bool(
                    number >= at_least[row, t] and q_halt[t].item() > q_continue[t].item()
                )
                share = (maximum - number + 1 if ends else 1) / maximum
                ce = cross_entropy(logits[t], torch.tensor(target))
                right = (logits[t].argmax() == target).double()
                bce_halt = binary_cross_entropy(q_halt[t].sigmoid(), right)
                bce_continue = torch.zeros((), dtype=torch.float64)
                if number < maximum:
                    after = [q[t].item() for q in found[number][1:]]
                    best = after[0] if number + 1 == maximum else max(after)
                    worth = torch.tensor(1 / (1 + math.exp(-best)), dtype=torch.float64)
                    bce_continue = binary_cross_entropy(q_continue[t].sigmoid(), worth)
                total = total + share * (ce + 0.5 * (bce_halt + bce_continue))
                for name, value in zip(NAMES, (ce, bce_halt, bce_continue), strict=False):
                    figures[name] += share * value.item()
                figures["used_segments"] += 1
                if ends:
                    break
    return total, figures


NAMES = ("ce", "bce_halt", "bce_continue", "used_segments")


@pytest.mark.parametrize("exploration", [0.0, 0.5])
@pytest.mark.parametrize("maximum", [1, 2, 4])
def test_losses_and_gradients_equal_those_of_each_token_computed_alone(
    maximum: int, exploration: float
) -> None:
    network = build(halt_max_steps=maximum, halt_exploration_prob=exploration).train()
    rows = batch(2, 6, ignored=1)
    torch.manual_seed(3)
    at_least = halting.minimum_segments(rows.targets, maximum, exploration)
    torch.manual_seed(3)  # the same random numbers again
    loss, measured, gradients = backpropagated(DeepSupervision(network, FULL).parts(rows), network)
    weights = weights_of(network)
    expected, figures = by_hand(network, weights, rows, at_least)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert measured == pytest.approx(figures, rel=1e-5)
    valid = rows.valid_tokens()
    assert valid <= measured["used_segments"] <= maximum * valid
    for name, gradient in gradients.items():
        reference = weights[name].grad
        reference = torch.zeros_like(gradient) if reference is None else reference.float()
        torch.testing.assert_close(gradient, reference, atol=2e-3, rtol=2e-3, msg=name)


def test_the_weights_of_a_position_add_up_to_one_wherever_it_halts() -> None:
    for maximum in range(1, 6):
        for end in range(1, maximum + 1):
            shares = [halting.weight_of(n, maximum, torch.tensor(n == end)).item() for n in range(1, end + 1)]
            assert sum(shares) == pytest.approx(1)


def test_exploration_keeps_some_positions_active() -> None:
    torch.manual_seed(0)
    drawn = halting.minimum_segments(torch.empty(400, 100), 4, 0.3)
    assert [round((drawn == n).float().mean().item(), 2) for n in range(1, 6)] == [0.7, 0.1, 0.1, 0.1, 0.0]
    assert set(halting.minimum_segments(torch.empty(50, 50), 1, 1.0).flatten().tolist()) == {1}
    assert set(halting.minimum_segments(torch.empty(50, 50), 4, 0.0).flatten().tolist()) == {1}


def test_the_target_of_continuing_comes_from_the_next_segment() -> None:
    next_halt, next_continue = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 0.0])
    free = halting.continue_target(next_halt, next_continue, must_halt=False)
    bound = halting.continue_target(next_halt, next_continue, must_halt=True)
    torch.testing.assert_close(free, torch.tensor([3.0, 2.0]).sigmoid())
    torch.testing.assert_close(bound, next_halt.sigmoid())


def test_accuracy_counts_the_prediction_at_which_a_position_halts() -> None:
    network, rows = build(), batch()
    score = DeepSupervision(network, FULL).score(rows)
    with torch.no_grad():
        logits = network(input_ids=rows.tokens).logits
    picked = rows.targets != -100
    assert score.nats == pytest.approx(
        cross_entropy(logits[picked], rows.targets[picked], reduction="sum").item(), rel=1e-6
    )
    assert score.correct == int((logits[picked].argmax(-1) == rows.targets[picked]).sum())
    assert score.valid == int(picked.sum())


def test_losses_and_gradients_of_batches_add_up() -> None:
    """Losses are sums over tokens: two halves of a batch together have the loss and gradient of the whole."""
    network = build(halt_exploration_prob=0.0).train()
    objective, rows = DeepSupervision(network, FULL), batch(4)
    whole, _, gradients = backpropagated(objective.parts(rows), network)
    halves = [Batch(rows.tokens[half], rows.targets[half], None) for half in (slice(0, 1), slice(1, 4))]
    parts = itertools.chain.from_iterable(objective.parts(half) for half in halves)
    loss, _, added = backpropagated(parts, network)
    assert loss == pytest.approx(whole, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(added[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


def test_packed_documents_give_the_same_loss_as_separate_ones() -> None:
    network = build(halt_exploration_prob=0.0).train()
    objective, rows = DeepSupervision(network, FULL), batch(2, 8, ignored=0)
    apart, _, gradients = backpropagated(objective.parts(rows), network)
    ids = torch.arange(2).repeat_interleave(8)[None]
    together = Batch(rows.tokens.reshape(1, -1), rows.targets.reshape(1, -1), ids)
    loss, _, packed = backpropagated(objective.parts(together), network)
    assert loss == pytest.approx(apart, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed[name], gradient, atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.parametrize("maximum", [1, 3])
def test_gradient_checkpointing_changes_no_gradient(maximum: int) -> None:
    network = build(halt_max_steps=maximum).train()
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        found.append(backpropagated(DeepSupervision(network, FULL).parts(batch()), network))
        checkpoint_activations(network)
    (loss, measured, gradients), (again, measured_again, recomputed) = found
    assert (loss, measured) == (again, measured_again)
    assert all(torch.equal(gradient, recomputed[name]) for name, gradient in gradients.items())


def test_computing_logits_in_chunks_changes_no_loss_and_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    network, rows = build().train(), batch()
    objective, found = DeepSupervision(network, FULL), []
    for tokens in (1000, 7):
        monkeypatch.setattr("trainer.learning.deep_supervision.LOGITS", 258 * tokens)
        torch.manual_seed(1)
        found.append((backpropagated(objective.parts(rows), network), objective.score(rows)))
    ((loss, measured, gradients), score), ((again, measured_again, chunked), score_again) = found
    assert again == pytest.approx(loss, rel=1e-6)
    assert measured_again == pytest.approx(measured, rel=1e-6)
    assert score_again.nats == pytest.approx(score.nats, rel=1e-6)
    assert score_again.correct == score.correct
    for name, gradient in gradients.items():
        torch.testing.assert_close(chunked[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


def random_bytes(network: Any, steps: int, rows: int, length: int, rate: float) -> list[float]:
    """Cross-entropy of each step in nats per token, on uniformly random bytes."""
    objective, generator = DeepSupervision(network.train(), FULL), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    found = []
    for _ in range(steps):
        tokens = torch.randint(0, 256, (rows, length + 1), generator=generator)
        drawn = Batch(tokens[:, :-1], tokens[:, 1:], None)
        parts = [(part.measured["ce"].item(), part.loss.backward()) for part in objective.parts(drawn)]
        found.append(sum(ce for ce, _ in parts) / drawn.valid_tokens())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return found


@pytest.mark.parametrize("maximum", [1, 3])
def test_on_uniformly_random_bytes_the_loss_stays_at_ln_256(maximum: int) -> None:
    network = build(window=8, halt_max_steps=maximum)
    tail = random_bytes(network, steps=100, rows=16, length=32, rate=3e-3)[-20:]
    assert abs(sum(tail) / len(tail) - math.log(256)) < 0.04


@pytest.mark.long
@pytest.mark.parametrize("window", [None, 1, 9])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_on_random_bytes_the_loss_stays_at_ln_256_for_long(backend: str, window: int | None) -> None:
    found = random_bytes(build(backend, window), steps=500, rows=32, length=32, rate=3e-3)
    above = sum(found[-100:]) / 100 - math.log(256)
    assert -0.005 < above < 0.02  # a leak would take it below; noise of the weights keeps it above
    assert min(found[100:]) > math.log(256) - 0.05


def test_mixed_precision_is_close_and_has_float32_gradients() -> None:
    network = build(halt_exploration_prob=0.0).train()
    exact, _, _ = backpropagated(DeepSupervision(network, FULL).parts(batch()), network)
    mixed = DeepSupervision(network, Precision(torch.bfloat16))
    loss, _, gradients = backpropagated(mixed.parts(batch()), network)
    assert loss == pytest.approx(exact, rel=0.02)
    assert loss != exact
    assert {gradient.dtype for gradient in gradients.values()} == {torch.float32}
