"""The training loop and its step: what affects the recorded loss and what does not, and the same steps as plain PyTorch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from tests.trainer.small_models import TEXT, logits, losses, model, run
from trainer import data
from trainer.config import TrainingSection
from trainer.learning.evaluation import evaluate_on
from trainer.learning.optimizer import make_optimizer
from trainer.learning.schedule import learning_rate
from trainer.models.model import checkpoint_activations
from trainer.models.tokenizer import ByteTokenizer


def test_the_loss_is_the_mean_over_valid_tokens() -> None:
    state = run(model(), b"ab<|endoftext|>some longer text, and more of it", length=8, batch_size=7)
    batch = state.dataset.training.batch(np.arange(state.dataset.training.blocks))
    output = logits(state.model, batch.tokens, document_ids=batch.document_ids).log_softmax(-1)
    rows = [
        -output[b, s, target].item()
        for b, row in enumerate(batch.targets.tolist())
        for s, target in enumerate(row)
        if target >= 0
    ]
    [part] = state.objective.parts(batch)
    assert part.loss.item() == pytest.approx(sum(rows), rel=1e-6)
    assert batch.valid_tokens() == len(rows)


def test_gradient_checkpointing_does_not_change_the_loss() -> None:
    plain = losses(run(model()))
    network = model()
    checkpoint_activations(network)
    assert losses(run(network)) == plain


def test_mixed_precision_keeps_float32_weights_and_a_similar_loss() -> None:
    state = run(model(), amp=True)
    mixed = losses(state)
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}
    assert mixed == pytest.approx(losses(run(model())), abs=0.02)
    assert mixed != losses(run(model()))


def test_the_learning_rate_rises_and_falls() -> None:
    training = TrainingSection(steps=100, warmup_steps=10, lr=1.0)
    rates = [learning_rate(step, training) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0.1)


def test_vectors_have_no_weight_decay() -> None:
    network = model()
    decay, none = make_optimizer(network, TrainingSection()).param_groups
    assert {p.ndim for p in none["params"]} == {1}
    assert len(decay["params"]) + len(none["params"]) == len(list(network.parameters()))
    assert (decay["weight_decay"], none["weight_decay"]) == (0.1, 0.0)


def test_evaluation_is_the_loss_on_held_out_text_per_token_and_per_byte() -> None:
    state = run(model(), batch_size=3)
    stream = data.stream_of(TEXT[:500], ByteTokenizer(), 32)
    found = evaluate_on(replace(state, dataset=replace(state.dataset, held_out=stream)), stream)
    batch = stream.batch(np.arange(stream.blocks))
    output = logits(state.model, batch.tokens)
    expected = F.cross_entropy(output.flatten(0, 1), batch.targets.flatten(), ignore_index=-100).item()
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert found.ppl == pytest.approx(math.exp(expected), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(expected / math.log(2) * 501 / 500, rel=1e-6)
    assert found.token_accuracy == (output.argmax(-1) == batch.targets).sum().item() / batch.valid_tokens()


def plain_losses(
    dtype: torch.dtype, steps: int, size: int, length: int, top: float, warmup: int
) -> list[float]:
    """Training in plain PyTorch. It shares with the trainer only the order of samples and the model of transformers."""
    network = model(backend=None).to(dtype).train()
    tokens = torch.tensor([*TEXT, 256])
    blocks = -(-(len(tokens) - 1) // length)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=top,
        betas=(0.9, 0.95),
        fused=False,
        foreach=False,
    )
    found = []
    for step in range(steps):
        indices = data.Order(1234).samples(step * size, size, blocks)
        rows = [tokens[i * length : i * length + length + 1] for i in indices]
        x = torch.full((size, length), 257)
        y = torch.full((size, length), -100)
        for row, part in enumerate(rows):
            x[row, : min(length, len(part))] = part[:length]
            y[row, : len(part) - 1] = part[1:]
        output = network(x, use_cache=False).logits
        loss = F.cross_entropy(output.reshape(-1, 258), y.reshape(-1), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        n = step + 1
        cosine = 0.5 * (1 + math.cos(math.pi * (n - warmup) / (steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = top * n / warmup if n <= warmup else top * (0.1 + 0.9 * cosine)
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def test_the_loss_curve_equals_plain_pytorch_with_eager_attention() -> None:
    """200 steps. The tolerance is the difference between plain PyTorch in float32 and in float64."""
    settings: dict[str, Any] = {"steps": 200, "size": 4, "length": 32, "top": 1e-3, "warmup": 20}
    ours = losses(run(model(), steps=200, batch_size=4, warmup_steps=20))
    exact = np.array(plain_losses(torch.float64, **settings), dtype=np.float64)
    rounded = np.array(plain_losses(torch.float32, **settings), dtype=np.float64)
    noise = np.abs(rounded / exact - 1).max()
    assert np.abs(np.array(ours) / exact - 1).max() < max(4 * noise, 1e-6)
    assert noise < 1e-3
    assert exact[-1] < 0.7 * exact[0]
