"""The trained model is a causal language model for every architecture, backend and window: no token sees later ones."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from tests.trainer.small_models import SMALL, SPECIAL, TEXT, logits, losses, model, no_retry, run
from trainer import data
from trainer.data import Batch
from trainer.data.stream import make
from trainer.errors import UserError
from trainer.learning import loop
from trainer.learning.position import Position
from trainer.learning.state import Progress
from trainer.learning.step import optimizer_step
from trainer.models.model import build, make_config
from trainer.models.tokenizer import ByteTokenizer
from trainer.models.trial import try_out

WINDOWS = [None, 1, 5, 31, 64]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
@pytest.mark.parametrize("kind", SMALL)
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


FLOOR = [
    pytest.param(kind, backend, window, marks=[] if (backend, window) == ("sdpa", 5) else pytest.mark.long)
    for kind, backend, window in itertools.product(SMALL, ["sdpa", "manual"], [None, 5, 24])
]


class Leak(data.Stream):
    """Rows whose targets are their own tokens, as if the model could see the next one."""

    def batch(self, indices: data.Indices) -> Batch:
        batch = super().batch(indices)
        return replace(batch, targets=batch.tokens)


def noise(blocks: int, seed: int, kind: type[data.Stream]) -> data.Stream:
    """Random bytes in rows of 32."""
    drawn = np.random.default_rng(seed).integers(0, 256, 32 * blocks, dtype=np.uint8).tobytes()
    stream = data.stream_of(drawn, ByteTokenizer(), 32)
    return kind(*(getattr(stream, field.name) for field in fields(stream)))


def trained_on_noise(
    kind: str, backend: str, window: int | None, rows: type[data.Stream] = data.Stream
) -> float:
    """Loss on random bytes, in nats per byte, after training on other random bytes."""
    state = run(model(kind, backend, window), steps=90, batch_size=8, learning_rate=5e-3)
    learned, unseen = noise(720, 0, rows), noise(80, 1, rows)
    losses(replace(state, dataset=replace(state.dataset, training=learned)))
    score = state.objective.score(unseen.batch(np.arange(80)))
    return score.nats / score.valid


@pytest.mark.parametrize(("kind", "backend", "window"), FLOOR)
def test_random_bytes_are_not_learned(kind: str, backend: str, window: int | None) -> None:
    assert abs(trained_on_noise(kind, backend, window) - math.log(256)) < 0.03


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_that_sees_its_target_would_be_detected(kind: str) -> None:
    """The test above can fail: with a leak, as many steps are enough to learn the targets."""
    assert trained_on_noise(kind, "sdpa", 5, rows=Leak) < math.log(256) - 1


def gradients(kind: str, stream: data.Stream, batch_size: int, parts: int) -> tuple[float, Tensor]:
    """Loss and gradients of one step."""
    state = run(model(kind), batch_size=batch_size, gradient_accumulation_steps=parts, max_grad_norm=1e9)
    state = replace(state, dataset=replace(state.dataset, training=stream))
    seen: list[Tensor] = []
    weights = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
    state.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in weights]))
    )
    result = optimizer_step(state, Progress(), loop.batches(state, Position()), 1e-3, no_retry)
    return result.loss, seen[0]


def alike(one: tuple[float, Tensor], other: tuple[float, Tensor]) -> bool:
    """Compare loss and gradients, within float32 accuracy."""
    return abs(one[0] - other[0]) < 1e-6 * other[0] and bool(
        (one[1] - other[1]).norm() < 1e-5 * other[1].norm()
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in SMALL if kind != "hrm_act_v1"]
)  # it draws numbers for each batch
@pytest.mark.parametrize("text", [TEXT, b"<|endoftext|>".join([b"ab", b"some longer text, " * 9, b"x"] * 40)])
def test_neither_batch_nor_accumulation_changes_the_scale_of_the_loss(kind: str, text: bytes) -> None:
    stream = data.stream_of(text, ByteTokenizer(), 32)
    expected = gradients(kind, stream, 8, 1)
    assert expected[1].norm() > 0.1
    for batch_size, parts in ((4, 2), (1, 8)):
        assert alike(gradients(kind, stream, batch_size, parts), expected)


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind not in ("gpt2", "hrm_act_v1")])
def test_packing_changes_neither_loss_nor_gradient(kind: str) -> None:
    """Documents of 7 bytes and end-of-text: four packed in a row, or one with padding. Positions are relative."""
    words = [f"{number * 7919 % 10**7:07d}\n<|endoftext|>\n" for number in range(32)]
    packed = data.stream_of("".join(words).encode(), ByteTokenizer(), 32)
    alone = make(
        packed.source, 0, len(packed.tokens), packed.text_bytes, 32, packed.part.pad_id, packing=False
    )
    assert (packed.blocks, alone.blocks) == (8, 32)
    assert packed.batch(np.arange(8)).valid_tokens() == alone.batch(np.arange(32)).valid_tokens() == 32 * 7
    assert alike(gradients(kind, alone, 32, 1), gradients(kind, packed, 8, 1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "GPTQ"),
        ({"quant_method": "awq", "bits": 4}, "AWQ"),
    ],
)
def test_quantized_weights_are_refused_before_they_are_loaded(settings: Any, words: str) -> None:
    """A 4-bit base trained, and then could not be saved, sampled or merged."""
    config = AutoConfig.for_model("llama", **SMALL["llama"], quantization_config=settings)
    for use in (lambda: try_out(config, (None, None)), lambda: build(config, None, 0)):
        with pytest.raises(UserError, match=rf"quantized: {words}.*Use the model that it was made from"):
            use()


def test_a_pickle_with_more_than_tensors_is_refused_and_not_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Runs()}, tmp_path / "pytorch_model.bin")
    config = AutoConfig.for_model("llama", **SPECIAL, **SMALL["llama"])
    with pytest.raises(UserError, match=r"a pickle file .*Convert it to safetensors"):
        build(config, tmp_path, 0)
    assert not (tmp_path / "ran").exists()


def test_an_optional_key_that_only_the_code_reads_is_accepted() -> None:
    """qwen3_moe reads head_dim, which its configuration does not list."""
    config = make_config({"model_type": "qwen3_moe", "head_dim": 16}, ByteTokenizer())
    assert config.head_dim == 16
    with pytest.raises(UserError, match="has no such key"):
        make_config({"model_type": "qwen3_moe", "head_dimension": 16}, ByteTokenizer())


def test_every_token_of_a_tokenizer_without_padding_is_trained() -> None:
    """An ordinary token was declared as the padding token, so its embedding stayed zero."""
    tokenizer = ByteTokenizer()
    tokenizer.padding_token = None
    architecture = {
        "model_type": "llama",
        "num_hidden_layers": 1,
        "hidden_size": 32,
        "num_attention_heads": 4,
    }
    network: Any = build(make_config(architecture | {"intermediate_size": 32}, tokenizer), None, seed=0)[0]
    assert network.get_input_embeddings().padding_idx is None
