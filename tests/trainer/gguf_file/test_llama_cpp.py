"""llama.cpp computes from a GGUF file what the exported model computes.

llama-cpp-python is built from its source, which takes minutes: `python scripts/run_tests.py tests/trainer/gguf_file -m long`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.gguf_file import models, with_llama_cpp
from tests.trainer.gguf_file.with_llama_cpp import Question
from trainer.gguf_file.writing import export
from trainer.models.tokenizer import encode_prompt, load

TOKENS = torch.randint(3, 300, (48,), generator=torch.Generator().manual_seed(0)).tolist()
TEXT = "the cat Grüße 漢 f(x)  don't </s> x"
NEW = 12


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_llama_cpp_computes_the_same(tmp_path: Path) -> None:
    """All kinds in one test, because llama.cpp answers about all of them in one process."""
    expected, questions = {}, []
    for i, name in enumerate(models.KINDS):
        folder = tmp_path / f"ß {i}"
        network = models.save(name, folder)
        export(folder, folder / "model.gguf", "f16", lambda line: None)
        pieces = encode_prompt(load(None, folder), TEXT)
        expected[name] = models.logits(network, TOKENS), models.greedy(network, TOKENS, NEW), pieces
        questions.append(Question(str(folder / "model.gguf"), TOKENS, NEW, TEXT))
    answers = dict(zip(models.KINDS, with_llama_cpp.ask(questions, tmp_path), strict=True))
    for name, (logits, new, pieces) in expected.items():
        found = torch.tensor(answers[name].logits)
        off, spread = float((found - logits).abs().max()), float(logits.std())
        assert spread >= 5 and off <= 5e-3 * spread, f"{name}: {off / spread:.1e}"
        assert torch.equal(found.argmax(-1), logits.argmax(-1)), name
        assert answers[name].new == new, name
        assert answers[name].pieces == pieces, name
