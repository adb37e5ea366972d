"""Conversations in rows: which tokens are targets, that none is lost, and records of any shape."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.data.instruction_files import DOCUMENTED, OWN, TURNS
from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED, sources, tokens
from trainer.data.best_fit_packing import WholeRows, whole_rows
from trainer.data.documents import Piece
from trainer.data.instructions import Reading, Tally
from trainer.data.part import Part
from trainer.data.recognition import conversation, shape_of
from trainer.data.stream import make
from trainer.errors import UserError
from trainer.models import chat_template
from trainer.models.tokenizer import ByteTokenizer

BYTES = ByteTokenizer()
TEMPLATE = chat_template.choose("chatml", BYTES)
END = "<|endoftext|>"

# A conversation: texts, each learned or not, in turn. A text document: None.
PARTS = st.lists(st.tuples(st.text("abc", min_size=1, max_size=8), st.booleans()), min_size=1, max_size=4)


def piece(parts: list[tuple[str, bool]]) -> Piece:
    text, answers = "", []
    for content, is_learned in parts:
        if is_learned:
            answers.append((len(text), len(text) + len(content)))
        text += content
    return Piece(text.encode(), True, "", tuple(answers))


@settings(max_examples=80, deadline=None)
@given(
    documents=st.lists(PARTS | st.text("xyz", min_size=2, max_size=30), min_size=1, max_size=12),
    length=st.integers(1, 24),
    packing=st.booleans(),
)
def test_every_learned_token_within_a_row_is_a_target_once(
    documents: list[Any], length: int, packing: bool
) -> None:
    read = [Piece(each.encode(), True, "") if isinstance(each, str) else piece(each) for each in documents]
    source = tokens.of_text(read, BYTES)
    source.tally.shapes["messages"] = 1
    stream = make(source, 0, len(source.tokens), 1, length, BYTES.pad_id, packing)
    expected: Counter[tuple[int, int]] = Counter()
    lost = cut = 0
    for each in documents:
        ids = (
            [*each.encode(), BYTES.end_id]
            if isinstance(each, str)
            else [*"".join(t for t, _ in each).encode()]
        )
        flags = [True] * len(ids) if isinstance(each, str) else [flag for text, flag in each for _ in text]
        # A conversation with a prompt is cut; another document is continued.
        kept = min(len(ids), length + 1) if any(flags) and not all(flags) else len(ids)
        expected.update(
            (a, b) for a, b, flag in zip(ids[: kept - 1], ids[1:kept], flags[1:kept], strict=True) if flag
        )
        cut += kept < len(ids)
        lost += sum(flags[kept:])
    batch = stream.batch(np.arange(stream.blocks))
    pairs = zip(batch.tokens.flatten().tolist(), batch.targets.flatten().tolist(), strict=True)
    assert Counter(each for each in pairs if each[1] != IGNORED) == expected
    rows = stream.rows
    assert isinstance(rows, WholeRows)
    assert (rows.cut, rows.lost) == (cut, lost)
    assert packing or not stream.packed


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(2, 40), min_size=1, max_size=60), length=st.integers(8, 40))
def test_rows_are_packed_tightly(sizes: list[int], length: int) -> None:
    read = [piece([("a", False), ("b" * (size - 1), True)]) for size in sizes]
    source = tokens.of_text(read, BYTES)
    rows = whole_rows(Part(source, 0, len(source.tokens), length, BYTES.pad_id), packing=True)
    filled = [sum(places for _, places in rows.segments(row)) for row in range(len(rows.rows))]
    assert all(0 < places <= length for places in filled)
    # Best fit leaves at most one row that is not more than half full.
    assert sum(2 * places <= length for places in filled) <= 1
    assert sorted(rows.lengths.tolist()) == sorted(min(size - 1, length) for size in sizes)


def test_a_row_numbers_its_documents_and_pads_its_end(tmp_path: Path) -> None:
    source = tokens.of_text(
        [piece([("ab", False), ("cd", True)]), piece([("x", False), ("yz", True)])], BYTES
    )
    source.tally.shapes["messages"] = 2
    batch = make(source, 0, 7, 1, 7, BYTES.pad_id, packing=True).batch(np.array([0, 1]))
    assert batch.tokens[0].tolist() == [*b"abcxy", BYTES.pad_id, BYTES.pad_id]
    assert batch.targets[0].tolist() == [IGNORED, *b"cdyz", IGNORED, IGNORED]
    assert batch.document_ids is not None
    assert batch.document_ids[0].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert batch.targets[1].tolist() == [IGNORED] * 7


def load(path: Path, **others: Any) -> tuple[data.Dataset, list[str]]:
    said: list[str] = []
    section = DataSection(dataset_file=path, **{"max_length": 128, "eval_fraction": 0.3, **others})
    return data.load(section, BYTES, said.append), said


def test_the_held_out_part_has_whole_conversations_and_counts_answers(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    records = [{"prompt": f"Question {n}", "completion": "yes" * (n % 5 + 1)} for n in range(20)]
    path.write_text("\n".join(map(json.dumps, records)))
    loaded, said = load(path)
    assert loaded.held_out is not None
    ends = f"<|im_end|>{END}\n".encode()
    for part, chosen in ((loaded.training, records[:14]), (loaded.held_out, records[14:])):
        answers = [record["completion"].encode() for record in chosen]
        assert part.text_bytes == sum(len(answer) + len(ends) for answer in answers)
        assert part.text_tokens == sum(len(answer) + len(b"<|im_end|>") + 2 for answer in answers)
        assert part.batch(np.arange(part.blocks)).valid_tokens() == part.text_tokens
    assert said[0].startswith("INFO: recognized 20 records of prompt and completion.")
    assert "the chat template chatml; the loss is on the answers" in said[1]


def test_cached_conversations_equal_those_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(
        "\n".join(map(json.dumps, [{"messages": TURNS}, {"messages": TURNS[:1]}, {"text": "t" * 300}] * 4))
    )
    fresh, said = load(path)
    built, cached = load(path, cache_dir=tmp_path / "c"), load(path, cache_dir=tmp_path / "c")
    assert [line for line in cached[1] if line in said] == said
    for loaded in (built[0], cached[0]):
        assert loaded.content == fresh.content
        for name in tokens.ARRAYS:
            one, two = (getattr(each.training.source, name) for each in (loaded, fresh))
            assert np.array_equal(one, two)
    other, _ = load(path, cache_dir=tmp_path / "c", train_on="all")
    assert other.content != fresh.content


def test_records_that_are_all_dropped_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": TURNS[:1]}))
    with pytest.raises(
        UserError,
        match=r"nothing to learn: all of its records were dropped\. 1 record was dropped: .*no answer",
    ):
        load(path)


def written(record: dict[str, Any]) -> tuple[str, str]:
    """A conversation in chatml by hand, or segments as they are, and the part that is learned."""
    shape = shape_of(record)
    assert shape
    if shape.name == "segments":
        segments = record["segments"]
        return "".join(s["text"] for s in segments), "".join(s["text"] for s in segments if s["label"])
    talk = conversation(record, shape)
    text = learned = ""
    for number, each in enumerate(talk.messages):
        text += f"<|im_start|>{each['role']}\n"
        said = f"{each.get('content') or ''}"
        if each["role"] == "assistant":
            said += f"<|im_end|>{END}\n"
            learned += "" if number in talk.unlearned else said
        else:
            said += "<|im_end|>\n"
        text += said
    return text, learned


RECORDS = [case[1] for case in [*DOCUMENTED, *OWN]]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "text é\n", 3, True, [], {}, [TURNS[0]], TURNS, [{"from": "gpt", "value": ""}], "[{"]
)
KEYS = st.sampled_from(
    sorted({key for record in RECORDS for key in record} | {"role", "content", "from", "value", "extra"})
)


def mutate(draw: Any, record: Any) -> None:
    """Change one thing in a record, or in a list or record inside it."""
    inner = [
        value
        for value in (record.values() if isinstance(record, dict) else record)
        if isinstance(value, (dict, list)) and value
    ]
    if inner and draw(st.booleans()):
        mutate(draw, draw(st.sampled_from(inner)))
    elif isinstance(record, list):
        change = draw(st.sampled_from(["append", "remove", "repeat"]))
        if change == "append":
            record.append(copy.deepcopy(draw(VALUES)))
        elif change == "remove":
            record.pop(draw(st.integers(0, len(record) - 1)))
        else:
            record.append(copy.deepcopy(record[-1]))
    elif record and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(record)))
        value = record.pop(key)
        if draw(st.booleans()):
            record[draw(KEYS)] = value
    else:
        record[draw(KEYS)] = copy.deepcopy(draw(VALUES))


@settings(max_examples=500, deadline=None, suppress_health_check=[*HealthCheck])
@given(drawn=st.data())
def test_a_record_of_any_shape_is_recognized_or_refused_in_a_sentence(tmp_path: Path, drawn: Any) -> None:
    record = copy.deepcopy(drawn.draw(st.sampled_from(RECORDS)))
    for _ in range(drawn.draw(st.integers(0, 4))):
        mutate(drawn.draw, record)
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    reading, tally = Reading(template=TEMPLATE), Tally()
    try:
        found = [
            p for source in sources.find(path, print, reading) for p in sources.pieces(source, reading, tally)
        ]
    except UserError as error:
        assert f"{path}, line 1" in str(error)
        assert str(error).endswith((".", ")"))
        return
    assert sum(tally.shapes.values()) == 1
    for each in (each for each in found if each.answers is not None):
        text, learned = written(record)
        said = each.text.decode()
        assert "".join(said[start:end] for start, end in each.answers or ()) == learned or "tool_call" in said
        assert said == text or "tool_call" in said or "Tools:" in said
