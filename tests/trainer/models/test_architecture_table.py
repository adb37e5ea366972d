"""The page of model types is up to date. CI examines the most used families; to examine all types:

python scripts/transformers_versions.py -m long tests/trainer/models/test_architecture_table.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from architecture_table import PAGE, page, read
from examine_architecture import Examined, examine
from tiny_architectures import model_types

TEXT = PAGE.read_text(encoding="utf-8")
RESULTS = read(TEXT)
TRAINED = "llama mistral qwen2 qwen3 gemma2 gemma3_text phi3 gpt2 deepseek_v3 mixtral"
REFUSED = "bert mamba gpt_oss falcon doge blt"
SAMPLE = (*TRAINED.split(), *REFUSED.split())


def test_the_page_lists_every_model_type_of_the_installed_transformers() -> None:
    assert set(model_types()) <= set(RESULTS), "run: python scripts/architecture_table.py"


@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_model_type_is_trained_or_refused_as_the_page_says(
    model_type: str, tmp_path: Path, known_machine: None
) -> None:
    assert examine(model_type, tmp_path) == RESULTS[model_type]


@pytest.mark.long
@pytest.mark.skipif(
    f"transformers {transformers.__version__}," not in TEXT, reason="the page is about another transformers"
)
@pytest.mark.parametrize("model_type", [each for each in model_types() if each not in SAMPLE])
def test_every_model_type_is_trained_or_refused_as_the_page_says(
    model_type: str, tmp_path: Path, known_machine: None
) -> None:
    assert examine(model_type, tmp_path) == RESULTS[model_type]


def test_a_page_contains_its_results() -> None:
    results = [
        Examined("llama", packing=True, window=True),
        Examined("no-packing", packing=False, window=True),
        Examined("no-window", packing=True, window=False),
        Examined("bert", refusal="it attends in both directions, as an encoder does"),
        Examined("roberta", refusal="it attends in both directions, as an encoder does"),
    ]
    assert read(page(results, "2026-11-30")) == {each.model_type: each for each in results}
