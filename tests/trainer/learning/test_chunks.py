"""Training in chunks: the loss and the exact gradients are those of the whole sequence, for every architecture and window."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.small_models import losses, model, run
from trainer.attention import carry
from trainer.attention.carry import Carry, windows_of
from trainer.attention.carry_proof import prove
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.hrm.model import HRMForCausalLM
from trainer.learning import loop, step
from trainer.learning.chunks import Chunked, ChunkSettings, groups
from trainer.learning.deep_supervision import DeepSupervision
from trainer.learning.objective import NextToken, Objective
from trainer.learning.state import MemorySettings, Progress
from trainer.models.model import checkpoint_activations

S, C = 26, 8
KINDS = ("gpt2", "llama", "gemma3_text", "hrm_act_v1")
FULL = Precision(torch.float32)
DROPOUT: dict[str, Any] = {"resid_pdrop": 0.2, "embd_pdrop": 0.1, "attn_pdrop": 0.2}
# Every value of each axis, with every architecture; all combinations are in the test marked `long`.
SAMPLE = [(7, None), (7, 8), (C, 64), (C, 11), (S, 8), (S + 5, None)]
ALL = [(size, window) for size in (1, 7, C, S, S + 5) for window in (None, 8, 64, S)]


def objective_of(network: Any, precision: Precision = FULL) -> Any:
    return (DeepSupervision if isinstance(network, HRMForCausalLM) else NextToken)(network, precision)


def batch(packed: bool = False) -> Batch:
    tokens = torch.randint(0, 258, (2, S + 1), generator=torch.Generator().manual_seed(1))
    targets = tokens[:, 1:].clone()
    targets[0, :3] = IGNORED
    ids = torch.tensor([[0] * 9 + [1] * 10 + [2] * (S - 19), [0] * 20 + [1] * (S - 20)])
    return Batch(tokens[:, :-1], targets, ids if packed else None)


def backpropagate(objective: Objective, network: Any, rows: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss, and the gradient of each parameter that has one."""
    network.train().zero_grad()
    torch.manual_seed(3)
    total = 0.0
    for part in objective.parts(rows):
        torch.autograd.backward(part.loss / rows.valid_tokens())
        total += part.loss.item()
    found = {name: x.grad.clone() for name, x in network.named_parameters() if x.grad is not None}
    return total, found


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest relative error of a parameter's gradient."""
    assert found.keys() == expected.keys()
    norms = {name: gradient.norm() for name, gradient in expected.items()}
    return max(float((found[name] - expected[name]).norm() / norms[name]) for name in found if norms[name])


def check(kind: str, size: int, window: int | None) -> None:
    network = model(kind, window=window)
    plain, rows = objective_of(network), batch()
    loss, gradients = backpropagate(plain, network, rows)
    exact = ChunkSettings(size, "exact")
    for settings in (exact, replace(exact, recompute=True)):
        found, with_carries = backpropagate(Chunked(plain, settings), network, rows)
        assert found == pytest.approx(loss, rel=1e-6)
        assert distance(with_carries, gradients) < 1e-5
    found, cut = backpropagate(Chunked(plain, ChunkSettings(size)), network, rows)
    assert found == pytest.approx(loss, rel=1e-6)
    assert (distance(cut, gradients) < 1e-5) == (size >= S)  # gradients end at the start of a chunk


def test_chunks_of_one_token() -> None:
    check("llama", 1, 8)


@pytest.mark.parametrize(("size", "window"), SAMPLE)
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_neither_loss_nor_exact_gradients(kind: str, size: int, window: int | None) -> None:
    check(kind, size, window)


@pytest.mark.long
@pytest.mark.parametrize(("size", "window"), ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_all_sizes_and_windows(kind: str, size: int, window: int | None) -> None:
    check(kind, size, window)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_documents_checkpointed_layers_and_16_bits(kind: str) -> None:
    network, rows = model(kind, window=8), batch(packed=True)
    plain = objective_of(network)
    exact = Chunked(plain, ChunkSettings(7, "exact", recompute=True))
    loss, gradients = backpropagate(plain, network, rows)
    found, in_chunks = backpropagate(exact, network, rows)
    assert found == pytest.approx(loss, rel=1e-6)
    assert distance(in_chunks, gradients) < 1e-5

    half = objective_of(network, Precision(torch.bfloat16))
    rounded, half_gradients = backpropagate(half, network, rows)
    found, half_in_chunks = backpropagate(replace(exact, objective=half), network, rows)
    assert found == pytest.approx(rounded, rel=1e-3)
    tolerance = 2 * distance(half_gradients, gradients)  # what rounding alone changes
    assert distance(half_in_chunks, gradients) < tolerance

    checkpoint_activations(network)
    found, recomputed = backpropagate(exact, network, rows)
    assert found == pytest.approx(loss, rel=1e-6)
    assert distance(recomputed, in_chunks) < 1e-6


class OneGraph:
    """A carry whose chunks stay in one graph, for autograd to go back through."""

    def __init__(self, window: int) -> None:
        self.window, self.stored = window, dict[int, tuple[Tensor, Tensor]]()

    def join(self, entry: int, keys: Tensor, values: Tensor) -> list[Tensor]:
        if entry in self.stored:
            past = self.stored[entry]
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        self.stored[entry] = keys, values
        return [x[:, :, -(self.window - 1 + 7) :] for x in (keys, values)]


def test_dropout_draws_the_same_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    network, rows = model("gpt2", window=8, **DROPOUT), batch()
    plain = objective_of(network)
    assert plain.output_layer is not None
    settings = [ChunkSettings(7, "exact"), ChunkSettings(7, "exact", recompute=True)]
    results = [backpropagate(Chunked(plain, each), network, rows) for each in settings]
    after = torch.rand(1)
    truncated = backpropagate(Chunked(plain, ChunkSettings(7)), network, rows)
    assert torch.equal(after, torch.rand(1)), "exact gradients leave the generators where one pass does"

    graph, places = OneGraph(8), Carry(windows_of(network.config), 7, S)
    network.zero_grad()
    torch.manual_seed(3)
    total = torch.zeros(())
    for chunk in range(places.count):
        places.chunk = chunk
        monkeypatch.setattr(carry, "_current", [graph])
        place = places.slice(chunk)
        for part in plain.parts(Batch(rows.tokens[:, place], rows.targets[:, place], None), places):
            total = total + part.loss
    torch.autograd.backward(total / rows.valid_tokens())
    expected = {name: x.grad.clone() for name, x in network.named_parameters() if x.grad is not None}
    for loss, gradients in results:
        assert loss == pytest.approx(total.item(), rel=1e-6) == truncated[0]
        assert distance(gradients, expected) < 1e-5


def test_a_frozen_model_with_adapters() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    network = model("llama", window=8)
    inject_adapter_in_model(
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False), network
    )
    plain, rows = objective_of(network), batch()
    loss, gradients = backpropagate(plain, network, rows)
    found, in_chunks = backpropagate(Chunked(plain, ChunkSettings(7, "exact")), network, rows)
    assert all("lora" in name for name in gradients)
    assert found == pytest.approx(loss, rel=1e-6)
    assert distance(in_chunks, gradients) < 1e-5


def test_a_limited_carry_is_a_shorter_context() -> None:
    """With a carry of 4 tokens, each chunk is that of a sequence that begins 4 tokens before it."""
    network = model("llama")
    plain, rows = objective_of(network), batch()
    cut = Chunked(plain, ChunkSettings(7, limit=4))
    network.eval()
    whole = plain.score(rows).nats
    assert cut.score(rows).nats != pytest.approx(whole, rel=1e-6)
    assert Chunked(plain, ChunkSettings(7, limit=S)).score(rows).nats == pytest.approx(whole, rel=1e-6)
    first = Batch(rows.tokens[:, :7], rows.targets[:, :7], None)
    second = Batch(rows.tokens[:, :14], rows.targets[:, :14].clone(), None)
    second.targets[:, :7] = IGNORED
    # In a model of one layer the second chunk sees the tokens 3 to 13, whatever came before.
    one = model("llama", num_hidden_layers=1).eval()
    seen = objective_of(one)
    changed = rows.tokens[:, :14].clone()
    changed[:, :3] = 5
    score = Chunked(seen, ChunkSettings(7, limit=4)).score
    assert score(second).nats == score(replace(second, tokens=changed)).nats
    assert seen.score(second).nats != seen.score(replace(second, tokens=changed)).nats
    assert score(first).nats == pytest.approx(seen.score(first).nats, rel=1e-6)


def test_evaluation_in_chunks_scores_the_same() -> None:
    for kind in KINDS:
        network = model(kind, window=8).eval()
        plain, rows = objective_of(network), batch(packed=True)
        with torch.no_grad():
            expected = plain.score(rows)
        found = Chunked(plain, ChunkSettings(7)).score(rows)
        assert (found.correct, found.valid) == (expected.correct, expected.valid)
        assert found.nats == pytest.approx(expected.nats, rel=1e-6)


def test_a_loss_scale_scales_carried_gradients_once() -> None:
    network, rows = model("gpt2", window=8), batch()
    plain = objective_of(network)
    exact = Chunked(plain, ChunkSettings(7, "exact"))
    _, gradients = backpropagate(exact, network, rows)
    network.zero_grad()
    for part in exact.parts(rows):
        torch.autograd.backward(part.loss / rows.valid_tokens() * 1024)
    scaled = {name: x.grad / 1024 for name, x in network.named_parameters() if x.grad is not None}
    assert distance(scaled, gradients) < 1e-6


def test_what_is_stored() -> None:
    """Exact: W - 1 tokens of each chunk. Recomputing: of √n chunks. Truncated: of those that the next chunk sees."""

    def most(settings: ChunkSettings, window: int | None) -> int:
        network = model("llama", window=window)
        stored = 0
        monkeyed = Chunked(objective_of(network), settings)
        for _ in monkeyed.parts(replace_rows(batch(), 1)):
            [current] = carry._current
            stored = max(stored, current.nbytes)
        return stored

    token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, width, float32
    chunks = -(-S // 3)
    assert most(ChunkSettings(3, "exact"), 3) == (chunks - 1) * 2 * token
    assert most(ChunkSettings(3, "exact", recompute=True), 3) <= 2 * chunks**0.5 * 2 * token
    assert most(ChunkSettings(3), 3) == 2 * 2 * token
    assert most(ChunkSettings(3, "exact"), None) == S * token


def replace_rows(rows: Batch, count: int) -> Batch:
    return Batch(rows.tokens[:count], rows.targets[:count], None)


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 1000])
def test_groups_cover_all_chunks(count: int) -> None:
    found = groups(count)
    assert [chunk for group in found for chunk in group] == list(range(count))
    assert len(found) + max(map(len, found)) <= 2 * count**0.5 + 2


def test_a_step_in_smaller_chunks_is_the_same_step() -> None:
    """The fallback when memory runs out: micro-batches of one sequence, then smaller chunks."""
    network = model("gpt2", window=8)
    state = run(network, length=50, batch_size=1)
    state = replace(state, objective=Chunked(objective_of(network), ChunkSettings(40, "exact")))
    sizes, real = [], step._backpropagate

    def run_out(*arguments: Any) -> Any:
        memory: MemorySettings = arguments[3]
        sizes.append(memory.chunk_size)
        sums = real(*arguments)
        if memory.chunk_size and memory.chunk_size > 256:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return sums

    expected = losses(state)
    again = model("gpt2", window=8)
    other = run(again, length=50, batch_size=1)
    other = replace(other, objective=Chunked(objective_of(again), ChunkSettings(7)))
    progress = Progress(memory=MemorySettings(chunk_size=1024))
    again.train()
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "_backpropagate", run_out)
        result = step.optimizer_step(
            other,
            progress,
            loop.batches(other, progress.position),
            1e-3,
            lambda message, memory: said.append(str(memory)),
        )
    assert sizes == [1024, 512, 256]
    assert said == ["whole batches in chunks of 512 tokens", "whole batches in chunks of 256 tokens"]
    assert result.loss == pytest.approx(expected[0], rel=1e-5)


class CountedShards:
    """Stands in for the shards of several processes: notes which backward passes reduce gradients."""

    def __init__(self) -> None:
        self.reduced: list[bool] = []

    def sum_at_next_backward(self, last: bool, every_batch: bool) -> None:
        self.reduced.append(last or every_batch)


@pytest.mark.parametrize("gradients", ["truncated", "exact"])
def test_processes_reduce_gradients_once_a_step(gradients: Any) -> None:
    network = model("llama", window=8)
    state, shards = run(network, length=26, batch_size=2, gradient_accumulation_steps=3), CountedShards()
    chunked: Any = Chunked(objective_of(network), ChunkSettings(7, gradients))
    sharded: Any = replace(state, objective=chunked)
    object.__setattr__(sharded, "shards", shards)
    batches = loop.batches(sharded, Progress().position)
    step._backpropagate(sharded, batches, 1, MemorySettings())
    assert len(shards.reduced) == 3 * 4
    assert shards.reduced == [False] * 11 + [True]


def test_a_float16_scaler_scales_chunks_as_whole_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where autocast to float16 works, too: the same scale, the same skipped step, the same losses."""
    curves = []
    for settings in (None, ChunkSettings(7, "exact")):
        network = model("llama", window=8)
        state = run(network, length=26, batch_size=2)
        plain = objective_of(network, Precision(torch.float16, scaled=True))
        objective: Any = Chunked(plain, settings) if settings else plain
        # The first scale overflows float16 gradients, so the first step is skipped and the scale halved.
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
        state = replace(state, objective=objective, scaler=scaler)
        curves.append((losses(state), scaler.get_scale()))
    (whole, scale), (chunks, scale_in_chunks) = curves
    assert scale == scale_in_chunks < 2.0**40
    assert chunks == pytest.approx(whole, rel=2e-3)


def test_the_proof_notices_a_model_that_forgets() -> None:
    for kind in KINDS:
        assert prove(model(kind, window=3)) is None
    network = model("gpt2")
    with torch.no_grad():  # weights so large that what a token sees moves its logits
        for parameter in network.parameters():
            parameter.mul_(4)
    assert prove(network) is None

    def forget(self: Carry, entry: int, keys: Tensor, values: Tensor) -> Any:
        return keys, values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Carry, "join", forget)
        assert "differ" in str(prove(network))


def parts_of(objective: Objective, rows: Batch) -> Iterator[bool]:
    for part in objective.parts(rows):
        torch.autograd.backward(part.loss)
        yield part.last


@pytest.mark.parametrize("gradients", ["truncated", "exact"])
def test_only_the_last_part_is_marked(gradients: Any) -> None:
    """Processes synchronize gradients once a step, at this part."""
    for kind in ("llama", "hrm_act_v1"):
        chunked = Chunked(objective_of(model(kind)), ChunkSettings(7, gradients))
        *others, last = parts_of(chunked, batch())
        assert last and not any(others)


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("gradients", ["truncated", "exact"])
def test_keys_and_values_of_a_step_are_freed_with_it(gradients: Any, window: int | None) -> None:
    """A reference cycle kept them until Python next looked for cycles, beside those of the next step."""
    network = model("llama", window=window)
    chunked, rows = Chunked(objective_of(network), ChunkSettings(7, gradients)), batch()
    seen: list[weakref.ref[Carry]] = []
    gc.collect()
    gc.disable()
    try:
        for part in chunked.parts(rows):
            [current] = carry._current
            seen.append(weakref.ref(current))
            torch.autograd.backward(part.loss)
            del current, part
        assert seen and not any(reference() for reference in seen)
    finally:
        gc.enable()
