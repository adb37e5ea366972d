"""Labelled segments: tokenized one by one and learned by their labels, as a slow reference does it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests.trainer.small_tokenizers import byte_level, sentencepiece
from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED
from trainer.errors import UserError
from trainer.models import tokenizer

Call = Callable[..., Result]
# A segment: a text, whose tokens change if it is joined with another, and its label.
TEXTS = st.text("the cat\n'\U0001f40d", max_size=12) | st.sampled_from(
    ["<|end|>", "</s>", "<s>", " hat", "tru"]
)
RECORDS = st.lists(st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=5), min_size=1, max_size=6)


def save(path: Path, records: list[list[tuple[str, Any]]]) -> Path:
    lines = [{"segments": [{"label": label, "text": text} for text, label in each]} for each in records]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def reference(own: Any, records: list[list[tuple[str, bool]]]) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels of each record that has something to learn and is not blank, segment by segment."""
    found = []
    for record in records:
        tokens: list[int] = []
        labels: list[int] = []
        for text, label in record:
            ids = own(text, add_special_tokens=False)["input_ids"]
            tokens += ids
            labels += ids if label else [IGNORED] * len(ids)
        if any(label and text for text, label in record) and "".join(text for text, _ in record).strip():
            found.append((tokens, labels))
    return found


@pytest.fixture(scope="module", params=[byte_level, sentencepiece])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("tokenizer")
    request.param().save_pretrained(made)
    return made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, packing=st.booleans())
def test_tokens_and_targets_are_those_of_the_reference(
    folder: Path, tmp_path: Path, records: list[list[tuple[str, bool]]], packing: bool
) -> None:
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    expected = [each for each in reference(auto.from_pretrained(folder), records) if each[0]]
    path = save(tmp_path / "data.jsonl", records)
    section = DataSection(dataset_file=path, max_length=64, eval_fraction=0.0, packing=packing)
    load: Callable[[], Any] = lambda: data.load(section, tokenizer.load(None, folder), print)  # noqa: E731
    if not any(label != IGNORED for _, labels in expected for label in labels[1:]):
        with pytest.raises(UserError):
            load()
        return
    stream = load().training
    assert stream.part.tokens.tolist() == [token for tokens, _ in expected for token in tokens]
    rows = [stream.batch(np.array([row])) for row in range(stream.blocks)]
    targets = sorted(t for row in rows for t in row.targets.flatten().tolist() if t != IGNORED)
    assert targets == sorted(t for _, labels in expected for t in labels[1:] if t != IGNORED)
    # Each target is beside the token before it.
    pairs = {
        pair
        for tokens, labels in expected
        for pair in zip(tokens[:-1], labels[1:], strict=True)
        if pair[1] != IGNORED
    }
    for row in rows:
        seen = zip(row.tokens.flatten().tolist(), row.targets.flatten().tolist(), strict=True)
        assert {pair for pair in seen if pair[1] != IGNORED} <= pairs


def test_a_segment_is_tokenized_by_itself(folder: Path) -> None:
    own = tokenizer.load(None, folder)
    ((joined, _),) = own.encode_spans(["the cat"], [()])
    apart = [token for text in ("the c", "at") for token in own.encode_spans([text], [()])[0][0].tolist()]
    assert joined.tolist() != apart  # so that the test above can tell the two


def test_the_preview_shows_which_segments_are_learned(tmp_path: Path, call: Call) -> None:
    path = save(
        tmp_path / "data.jsonl", [[("<s>Q: 2?", False), ("4.", True), ("\nQ: 3?", False), ("9.</s>", 1)]]
    )
    found = json.loads(call("data", "preview", path, "--json").stdout)
    assert (found["format"], found["chat_template"], found["records"]) == ("segments", None, {"segments": 1})
    parts = [(each["text"], each["learned"]) for each in found["examples"][0]["text"]]
    assert parts == [("<s>Q: 2?", False), ("4.", True), ("\nQ: 3?", False), ("9.</s>", True)]


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        ([{"label": True, "text": "a"}, {"label": True}], "a segment is .* It needs a text"),
        ([{"label": "yes", "text": "a"}], "label that is true or false"),
        ([{"label": False, "text": "a"}], "no segment has the label true"),
        ([{"start": 0.0, "text": "a"}], "text field 'segments' contains list"),
    ],
    ids=["no text", "no label", "nothing learned", "a transcript"],
)
def test_other_segments_are_refused_in_a_sentence(
    tmp_path: Path, call: Call, segments: Any, words: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        f"{json.dumps({'segments': segments})}\n" * (1 if "label" in segments[0] else 2), encoding="utf-8"
    )
    refused = call("data", "preview", path)
    assert refused.exit_code == 2
    assert "Traceback" not in refused.output
    assert re.search(words, " ".join(refused.output.split()))
