"""It is a language model: no leak, one scale of the loss, the same steps as plain PyTorch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from trainer import data, loop
from trainer.attention import huggingface
from trainer.checkpoint import Position
from trainer.config import TrainingSection
from trainer.device import Precision
from trainer.evaluation import evaluate
from trainer.model import checkpoint_activations
from trainer.objective import NextToken
from trainer.optimizer import make_optimizer
from trainer.schedule import learning_rate
from trainer.state import Run
from trainer.step import optimizer_step
from trainer.tokenizer import ByteTokenizer

CPU = torch.device("cpu")
TEXT = b"the quick brown fox jumps over the lazy dog, and the dog does not mind. " * 60
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "llama": {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "max_position_embeddings": 64},
}
SPECIAL = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 257}


def model(kind: str = "gpt2", backend: str | None = "sdpa", window: int | None = None, **changes: Any) -> Any:
    config = AutoConfig.for_model(kind, **SPECIAL, **SMALL[kind] | changes)
    if backend:
        huggingface.attach(config, backend=backend, window=window)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, **({} if backend else {"attn_implementation": "eager"})
    )


def run(network: Any, text: bytes = TEXT, length: int = 32, amp: bool = False, **training: Any) -> Run:
    stream = data.stream(text, ByteTokenizer(), length)
    settings = TrainingSection(**{"steps": 4, "batch_size": 4, "learning_rate": 1e-3, **training})
    precision = Precision(torch.bfloat16 if amp else torch.float32)
    return Run(
        model=network,
        objective=NextToken(network, precision),
        tokenizer=ByteTokenizer(),
        optimizer=make_optimizer(network, settings),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        dataset=data.Dataset(stream, None, 0.0, 0.0),
        training=settings,
        device=CPU,
        labels={},
    )


def no_memory_runs_out(*said: object) -> None:
    raise AssertionError(f"memory ran out: {said}")


def losses(state: Run) -> list[float]:
    """Train, and return the loss of each step."""
    found, position = [], Position()
    state.model.train()
    samples = state.training.batch_size * state.training.gradient_accumulation_steps
    while position.step < state.training.steps:
        step = position.step + 1
        rate = learning_rate(step, state.training)
        result = optimizer_step(state, loop.batches(state, position), rate, no_memory_runs_out)
        found.append(result.loss)
        position = Position(step, position.samples + samples)
    return found


def logits(network: Any, tokens: Tensor, **others: Any) -> Tensor:
    with torch.no_grad():
        output: Tensor = network.eval()(input_ids=tokens, use_cache=False, **others).logits
    return output


@pytest.mark.parametrize("window", [None, 1, 5, 31, 64])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_changing_a_token_changes_no_earlier_logit(kind: str, backend: str, window: int | None) -> None:
    network = model(kind, backend, window)
    tokens = torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 17] = (changed[:, 17] + 1) % 256
    before, after = logits(network, tokens), logits(network, changed)
    assert torch.equal(before[:, :17], after[:, :17])
    assert not torch.equal(before[:, 17], after[:, 17])


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_a_document_does_not_see_the_one_before(backend: str) -> None:
    network = model("llama", backend, window=9)  # rotary positions: gpt2's own would differ
    tokens = torch.randint(0, 256, (1, 40), generator=torch.Generator().manual_seed(1))
    ids = (torch.arange(40) >= 20).long()[None]
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 256
    before, after = logits(network, tokens, document_ids=ids), logits(network, changed, document_ids=ids)
    assert torch.equal(before[:, 20:], after[:, 20:])
    assert not torch.equal(before[:, 12:20], after[:, 12:20])


def test_on_uniformly_random_bytes_the_loss_stays_at_ln_256() -> None:
    text = np.random.default_rng(0).integers(0, 256, 60_000, dtype=np.uint8).tobytes()
    found = losses(run(model(window=16), text, steps=60, batch_size=8))
    tail = sum(found[-20:]) / 20
    assert abs(tail - math.log(256)) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "window"), [("sdpa", None), ("sdpa", 24), ("manual", 7)])
def test_on_random_bytes_the_loss_stays_at_ln_256_for_long(backend: str, window: int | None) -> None:
    text = np.random.default_rng(0).integers(0, 256, 2_000_000, dtype=np.uint8).tobytes()
    found = losses(
        run(model("gpt2", backend, window, n_embd=64), text, steps=600, batch_size=8, learning_rate=3e-3)
    )
    assert abs(sum(found[-100:]) / 100 - math.log(256)) < 0.01


def gradients(batch_size: int, parts: int, text: bytes = TEXT) -> tuple[float, Tensor]:
    state = run(model(), text, batch_size=batch_size, gradient_accumulation_steps=parts, max_grad_norm=1e9)
    seen: list[Tensor] = []
    state.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in state.model.parameters()]))
    )
    return optimizer_step(state, loop.batches(state, Position()), 1e-3, no_memory_runs_out).loss, seen[0]


@pytest.mark.parametrize("text", [TEXT, b"<|endoftext|>".join([b"ab", b"some longer text, " * 9, b"x"] * 40)])
def test_neither_batch_nor_accumulation_changes_the_scale_of_the_loss(text: bytes) -> None:
    reference_loss, reference = gradients(8, 1, text)
    for batch_size, parts in ((4, 2), (1, 8)):
        loss, gradient = gradients(batch_size, parts, text)
        assert loss == pytest.approx(reference_loss, rel=1e-6)
        assert (gradient - reference).norm() < 1e-5 * reference.norm()


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


def test_gradient_checkpointing_changes_no_loss() -> None:
    plain = losses(run(model()))
    network = model()
    checkpoint_activations(network)
    assert losses(run(network)) == plain


def test_mixed_precision_keeps_float32_weights_and_is_near() -> None:
    state = run(model(), amp=True)
    mixed = losses(state)
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}
    assert mixed == pytest.approx(losses(run(model())), abs=0.02)
    assert mixed != losses(run(model()))


def test_the_learning_rate_rises_and_falls() -> None:
    training = TrainingSection(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, training) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0.1)


def test_vectors_do_not_decay() -> None:
    network = model()
    decay, none = make_optimizer(network, TrainingSection()).param_groups
    assert {p.ndim for p in none["params"]} == {1}
    assert len(decay["params"]) + len(none["params"]) == len(list(network.parameters()))
    assert (decay["weight_decay"], none["weight_decay"]) == (0.1, 0.0)


def test_evaluation_is_the_loss_of_held_out_text_by_token_and_by_byte() -> None:
    state = run(model(), batch_size=3)
    stream = data.stream(TEXT[:500], ByteTokenizer(), 32)
    found = evaluate(replace(state, dataset=replace(state.dataset, held_out=stream)), stream)
    batch = stream.batch(np.arange(stream.blocks))
    output = logits(state.model, batch.tokens)
    expected = F.cross_entropy(output.flatten(0, 1), batch.targets.flatten(), ignore_index=-100).item()
    assert found.loss == pytest.approx(expected, rel=1e-6)
    assert found.ppl == pytest.approx(math.exp(expected), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(expected / math.log(2) * 501 / 500, rel=1e-6)
    assert found.token_accuracy == (output.argmax(-1) == batch.targets).sum().item() / batch.valid_tokens()


@pytest.mark.slow
def test_the_loss_curve_is_that_of_plain_pytorch_on_eager_attention() -> None:
    """200 steps; the reference shares no code with the trainer but the model's definition in transformers."""
    steps, size, length, top, warmup = 200, 4, 32, 1e-3, 20
    state = run(model(window=None), steps=steps, batch_size=size, warmup_steps=warmup)
    ours = losses(state)

    network = model(backend=None).train()
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
    reference = []
    for step in range(steps):
        indices = data.Order(1234).samples(step * size, size, blocks)
        rows = [tokens[i * length : i * length + length + 1] for i in indices]
        x = torch.full((size, length), 257)
        y = torch.full((size, length), -100)
        for row, part in enumerate(rows):
            x[row, : min(length, len(part))] = part[:length]
            y[row, : len(part) - 1] = part[1:]
        loss = F.cross_entropy(
            network(x, use_cache=False).logits.reshape(-1, 258), y.reshape(-1), ignore_index=-100
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        n = step + 1
        cosine = 0.5 * (1 + math.cos(math.pi * (n - warmup) / (steps - warmup)))
        for group in optimizer.param_groups:
            group["lr"] = top * n / warmup if n <= warmup else top * (0.1 + 0.9 * cosine)
        optimizer.step()
        optimizer.zero_grad()
        reference.append(loss.item())
    assert ours == pytest.approx(reference, rel=2e-3)
    assert ours[:20] == pytest.approx(reference[:20], rel=1e-5)
    assert reference[-1] < 0.7 * reference[0]
