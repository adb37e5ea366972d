"""Failures that users reported to other training projects, one case each in reports.json: aios trains, or refuses clearly.

A case names its source as repository#number, what was reported there, and the expected result here: the texts that are read,
or words of the refusal. Refusals are UserErrors, which the commands print as one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig
from typer.testing import Result

from tests.trainer import small_models
from trainer import config as configuration
from trainer import data
from trainer.config import DataSection, ModelSection, TrainConfig
from trainer.errors import UserError
from trainer.learning import loop
from trainer.learning.position import Position
from trainer.models import lora, model, vocabulary
from trainer.models.tokenizer import ByteTokenizer
from trainer.start import Options, find_start
from trainer.survival.checkpoint import CheckpointFolder

Case = dict[str, Any]
CASES: list[Case] = json.loads(
    Path(__file__).with_suffix("").with_name("reports.json").read_text(encoding="utf-8")
)
BYTES = ByteTokenizer()


def of(kind: str) -> pytest.MarkDecorator:
    """The cases of a kind, as parameters."""
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case["source"]) for case in CASES if case["kind"] == kind]
    )


def write_documents(folder: Path, documents: list[str]) -> Path:
    path = folder / "d.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in documents), encoding="utf-8")
    return path


def rows(folder: Path, documents: list[str], packing: bool) -> data.Batch:
    settings = DataSection(
        dataset_file=write_documents(folder, documents), max_length=8, eval_fraction=0, packing=packing
    )
    stream = data.load(settings, BYTES, lambda _: None).training
    return stream.batch(np.arange(stream.blocks))


def test_every_case_has_a_known_kind_and_a_source() -> None:
    assert {case["kind"] for case in CASES} <= {name.removeprefix("test_") for name in globals()}
    assert all("#" in case["source"] and case["reported"] for case in CASES)
    assert len(CASES) >= 40


@of("rows")
def test_rows(case: Case, tmp_path: Path) -> None:
    """Every token of every text is a target exactly once, including the end of the text."""
    batch = rows(tmp_path, case["documents"], case["packing"])
    targets = sorted(batch.targets[batch.targets >= 0].tolist())
    # The first byte of a text has nothing before it that could predict it. Its end is a token of its own.
    assert targets == sorted(
        token for text in case["documents"] for token in [*text.encode()[1:], BYTES.end_id]
    )


@of("apart")
def test_apart(case: Case, tmp_path: Path) -> None:
    """A text has the same logits in a packed row as alone."""
    network = small_models.model("llama")
    batch = rows(tmp_path, case["documents"], True)
    assert batch.document_ids is not None
    packed = small_models.logits(network, batch.tokens, document_ids=batch.document_ids)
    text = case["documents"][1].encode()
    alone = small_models.logits(network, torch.tensor([[*text]]))
    tokens = batch.tokens.flatten().tolist()
    start = next(n for n in range(len(tokens)) if tokens[n : n + len(text)] == [*text])
    found = packed.flatten(0, 1)[start : start + len(text)]
    assert start
    torch.testing.assert_close(found, alone[0], rtol=1e-4, atol=1e-5)


@of("resume")
def test_resume(case: Case) -> None:
    """A resumed run continues with the next sample, for any batch size, in every epoch."""
    first, then = case["batches"]
    before, after = (_samples(size) for size in (first, then))
    steps, read = case["after_steps"], case["after_steps"] * first
    total = read + 6 * then
    resumed = before(0, steps, first) + [row for n in range(6) for row in after(read + n * then, 1, then)]
    assert resumed == _samples(1)(0, total, 1)
    epoch = _samples(1)(0, 12, 1)
    assert len({*epoch}) == 12
    assert sorted(_samples(1)(12, 12, 1)) == sorted(epoch)


def _samples(size: int) -> Any:
    """A function that reads samples as a new process with this batch size does: from the first, a number of steps."""
    text = b"".join(b"%03d" % number for number in range(80))  # 12 rows of 20
    state = small_models.run(small_models.model("gpt2"), text, length=20, batch_size=size, steps=100)

    def read(samples: int, steps: int, size: int) -> list[bytes]:
        found = [
            loop.batches(state, Position(step, samples + step * size))[0].tokens.numpy()
            for step in range(steps)
        ]
        return [row.tobytes() for part in found for row in part]

    return read


@of("data")
def test_data(case: Case, tmp_path: Path) -> None:
    """The texts of a file are read, or the file is named with what is wrong and what to do."""
    path = tmp_path / case["name"]
    path.parent.mkdir(exist_ok=True)
    path.write_text(case["content"], encoding="utf-8")

    def read() -> list[str]:
        named = tmp_path / case["folder"] if "folder" in case else path
        settings = DataSection(dataset_file=named, eval_fraction=0, max_length=4)
        dataset = data.load(settings, BYTES, lambda _: None)
        tokens = dataset.training.tokens.tolist()
        return [part for part in _texts(tokens) if part]

    if "refused" in case:
        with pytest.raises(UserError, match=rf"(?s){case['refused']}"):
            read()
    else:
        assert read() == case["texts"]


def _texts(tokens: list[int]) -> list[str]:
    texts: list[list[int]] = [[]]
    for token in tokens:
        if token == BYTES.end_id:
            texts.append([])
        else:
            texts[-1].append(token)
    return [bytes(text).decode() for text in texts]


@of("folder")
def test_folder(case: Case, tmp_path: Path) -> None:
    """A model folder without usable weights is refused before the first step, with what was found in it."""
    folder = tmp_path / "model"
    small_models.model("llama", backend=None).save_pretrained(folder)
    BYTES.save(folder)
    weights = folder / "model.safetensors"
    kind, _, name = case["change"].partition(" ")
    if kind == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif kind == "empty":
        weights.write_bytes(b"")
    elif kind == "without":
        (folder / name).unlink()
    elif kind == "weights":
        weights.rename(folder / name)
    elif kind == "only":
        for file in [*folder.iterdir()]:
            file.unlink()
        (folder / name).write_bytes(b"GGUF")
    elif kind == "adapter":
        weights.unlink()
        (folder / "config.json").unlink()
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    settings = TrainConfig.model_validate({"model": {"name": str(folder)}})
    with pytest.raises(UserError, match=rf"(?s){case['refused']}"):
        start = find_start(settings, Options(), CheckpointFolder(tmp_path / "none", 1), lambda _: None)
        model.build(start.model_config, start.weights, 0)


@of("vocabulary")
def test_vocabulary(case: Case) -> None:
    """Tokens that occur have a row in the model; those that do not occur may be missing."""
    special = {"vocab_size": 256, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    config = AutoConfig.for_model("llama", **special)

    class Larger(ByteTokenizer):
        vocab_size = 301
        end_id = 0

        def names(self, tokens: Any) -> str:
            return ", ".join(map(str, tokens))

    texts = [np.array(case["tokens"])]
    if "refused" in case:
        with pytest.raises(UserError, match=case["refused"]):
            vocabulary.check(config, Larger(), texts, "The data set")
    else:
        vocabulary.check(config, Larger(), texts, "The data set")


@of("config")
def test_config(case: Case, tmp_path: Path) -> None:
    """A configuration is read as the user meant it, or the error names the key."""
    path = tmp_path / "config.yaml"
    path.write_text(case["yaml"], encoding="utf-8")
    if "refused" in case:
        with pytest.raises(UserError, match=rf"(?s){case['refused']}"):
            configuration.load(path, {})
    else:
        section, key = case["key"]
        assert str(getattr(getattr(configuration.load(path, {}), section), key)) == case["value"]


@of("warned")
def test_warned(
    case: Case, settings: dict[str, Any], write_config: Callable[[Any], Path], call: Callable[..., Result]
) -> None:
    """The run warns at its start of a setting that does not have its usual effect."""
    settings["training"] |= case["training"]
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    assert case["warning"] in " ".join(result.stderr.split())


@of("lora")
def test_lora(case: Case) -> None:
    """LoRA finds its layers, or the error lists those that the model has."""
    network = small_models.model(case["model"])
    settings = ModelSection(name="x/y", use_peft=True, lora_target_modules=case["targets"])
    if "refused" in case:
        with pytest.raises(UserError, match=rf"This model has: .*{case['refused']}"):
            lora.add(network, settings)
    else:
        lora.add(network, settings)
        assert lora.adapter_parameters(network)


@of("half")
def test_half(case: Case, tmp_path: Path) -> None:
    """A model that was saved in 16 bits trains in float32."""
    dtype = getattr(torch, case["dtype"])
    small_models.model("llama", backend=None).to(dtype).save_pretrained(tmp_path)
    settings = TrainConfig.model_validate({"model": {"name": str(tmp_path), "tokenizer": "byte"}})
    start = find_start(settings, Options(), CheckpointFolder(tmp_path / "none", 1), lambda _: None)
    network, _ = model.build(start.model_config, start.weights, 0)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    state = small_models.run(network, steps=1)
    assert all(loss > 0 for loss in small_models.losses(state))
