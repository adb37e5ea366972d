"""llama.cpp computes from a GGUF file what the exported model computes.

llama-cpp-python is built from its source, which takes minutes: `python scripts/run_tests.py tests/trainer/gguf_file -m long`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.gguf_file import models, with_llama_cpp
from tests.trainer.gguf_file.with_llama_cpp import Question
from trainer.gguf_file.writing import Kind, export
from trainer.models.tokenizer import encode_prompt, load

TOKENS = torch.randint(3, 300, (48,), generator=torch.Generator().manual_seed(0)).tolist()
TEXT = "the cat Grüße 漢 f(x)  don't </s> x"
NEW = 12


# Largest difference of a logit, in standard deviations. With bf16 and q8_0, llama.cpp rounds the inputs of a product as well.
LIMITS: dict[Kind, float] = {"f16": 5e-3, "bf16": 0.05, "q8_0": 0.15}


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_llama_cpp_computes_the_same(tmp_path: Path) -> None:
    """All kinds in one test, because llama.cpp answers about all of them in one process."""
    expected, questions = [], []
    for i, name in enumerate(models.KINDS):
        folder = tmp_path / f"ß {i}"
        network = models.save(name, folder)
        pieces = encode_prompt(load(None, folder), TEXT)
        computed = models.logits(network, TOKENS), models.greedy(network, TOKENS, NEW), pieces
        for kind in LIMITS:
            export(folder, folder / f"{kind}.gguf", kind, lambda line: None)
            expected.append((name, kind, *computed))
            questions.append(Question(str(folder / f"{kind}.gguf"), TOKENS, NEW, TEXT))
    for (name, kind, logits, new, pieces), answer in zip(
        expected, with_llama_cpp.ask(questions, tmp_path), strict=True
    ):
        found = torch.tensor(answer.logits)
        off, spread = float((found - logits).abs().max()), float(logits.std())
        assert spread >= 5 and off <= LIMITS[kind] * spread, f"{name}, {kind}: {off / spread:.1e}"
        best = logits.topk(2).values
        clear = (best[:, 0] - best[:, 1] > 2 * off) | (kind == "f16")
        assert torch.equal(found.argmax(-1)[clear], logits.argmax(-1)[clear]), f"{name}, {kind}"
        assert kind != "f16" or answer.new == new, name
        assert answer.pieces == pieces, name
