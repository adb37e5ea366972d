"""The shape of instruction data, recognized from its records, in each kind of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.data.instruction_files import CALL, DOCUMENTED, OWN, REFUSED, SHARED, TURNS, A, Q, S
from trainer.data import sources
from trainer.data.documents import Piece
from trainer.data.instructions import Reading, Tally
from trainer.data.messages import NotAConversationError, UnusableError
from trainer.data.recognition import conversation, shape_of
from trainer.errors import UserError
from trainer.models import chat_template
from trainer.models.chat_template import Conversation
from trainer.models.tokenizer import ByteTokenizer

READING = Reading(template=chat_template.choose("chatml", ByteTokenizer()))


def read(path: Path, reading: Reading = READING) -> tuple[list[Piece], Tally]:
    tally = Tally()
    return [
        p for source in sources.find(path, print, reading) for p in sources.pieces(source, reading, tally)
    ], tally


def conversation_of(record: dict[str, Any]) -> Conversation:
    shape = shape_of(record)
    assert shape
    return conversation(record, shape)


@pytest.mark.parametrize(
    ("source", "record", "shape", "roles"), [*DOCUMENTED, *OWN], ids=[case[0] for case in [*DOCUMENTED, *OWN]]
)
def test_the_shape_of_a_file_is_recognized(
    tmp_path: Path, source: str, record: dict[str, Any], shape: str, roles: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps(record)}\n" * 2, encoding="utf-8")
    if shape == REFUSED:
        with pytest.raises(UserError, match=roles) as refused:
            read(path)
        assert f"{path}, line 1" in str(refused.value)
        return
    pieces, tally = read(path)
    assert tally.shapes == {shape: 2}
    if shape == "text":
        assert [piece.answers for piece in pieces] == [None] * 2
    elif shape == "segments":
        assert all(piece.cuts and piece.answers for piece in pieces)
    elif not roles:
        assert [dropped.count for dropped in tally.dropped.values()] == [2]
    else:
        assert "".join(each["role"][0] for each in conversation_of(record).messages) == roles
        assert len(pieces) == 2


def test_half_of_the_files_are_documented_ones() -> None:
    assert len({case[0] for case in [*DOCUMENTED, *OWN]}) >= 50
    assert len(DOCUMENTED) >= 25


def test_the_content_of_a_conversation_is_that_of_the_record() -> None:
    records = {case[0]: case[1] for case in DOCUMENTED}
    question, answer = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
    for name in (
        "TRL dataset_formats, conversational",
        "Gemini API, tuning",
        "XTuner, multi-turn",
        "Firefly",
    ):
        messages = [each for each in conversation_of(records[name]).messages if each["role"] != "system"]
        assert messages[:2] == [question, answer]
    tools = conversation_of(records["LLaMA-Factory data, sharegpt with tools"])
    assert tools.messages[0] == {"role": "system", "content": S}
    assert tools.messages[2]["tool_calls"] == [{"type": "function", "function": CALL}]
    assert tools.tools[0]["function"]["name"] == "distance"
    openai = conversation_of(records["OpenAI fine-tuning, tools"]).messages[1]["tool_calls"]
    assert openai == [{"type": "function", "id": "c1", "function": CALL}]
    assert (
        conversation_of({"instruction": Q, "input": S, "output": A}).messages[0]["content"] == f"{Q}\n\n{S}"
    )


def test_answers_with_weight_0_and_those_of_a_prompt_are_context() -> None:
    records = {case[0]: case[1] for case in [*DOCUMENTED, *OWN]}
    assert conversation_of(records["OpenAI fine-tuning, chat with weights"]).unlearned == {1}
    assert 1 in conversation_of(records["a prompt of messages and an answer"]).unlearned
    with pytest.raises(UnusableError, match="weight 0"):
        conversation_of({"messages": [TURNS[0], {**TURNS[1], "weight": 0}]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", json.dumps([{"conversations": SHARED}] * 2)),
        ("d.json", json.dumps({"conversations": SHARED}, indent=1)),
        ("d.jsonl", f"{json.dumps(TURNS)}\n" * 2),
        ("d.csv", f"instruction,output\n{Q},far\n{Q},near\n"),
        ("d.tsv", f"prompt\tcompletion\n{Q}\tfar\n"),
    ],
)
def test_each_kind_of_file_is_recognized(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    pieces, tally = read(tmp_path)
    assert tally.conversations == len(pieces) > 0
    assert all(piece.answers for piece in pieces)


def test_parquet_is_recognized_by_its_columns(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"messages": TURNS, "n": 1}, {"messages": TURNS[:1], "n": 2}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    pieces, tally = read(tmp_path)
    assert (len(pieces), tally.shapes) == (1, {"messages": 2})
    assert [(each.reason, each.count) for each in tally.dropped.values()] == [("no answer", 1)]


def test_a_folder_may_mix_kinds_of_files_and_records(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(map(json.dumps, [{"messages": TURNS}, {"text": "t"}, {"prompt": Q, "completion": A}]))
    )
    (tmp_path / "b.txt").write_text("plain")
    (tmp_path / "settings.json").write_text('{"version": 1}')
    pieces, tally = read(tmp_path)
    assert [piece.answers is None for piece in pieces] == [False, True, False, True]
    assert tally.shapes == {"messages": 1, "text": 1, "prompt-completion": 1}


@pytest.mark.parametrize(
    ("record", "form", "words"),
    [
        (
            {"text": "a"},
            "messages",
            "= messages: looked for a list of messages with role and content.*found text",
        ),
        ({"messages": TURNS}, "alpaca", "= alpaca: looked for instruction and output"),
        ({"messages": TURNS}, "text", "looked for one of the fields text"),
    ],
)
def test_a_format_that_is_named_is_the_only_one(
    tmp_path: Path, record: dict[str, Any], form: str, words: str
) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps(record))
    with pytest.raises(UserError, match=words):
        read(tmp_path, Reading(format=form, template=READING.template))


def test_messages_are_not_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps({"messages": TURNS}))
    with pytest.raises(UserError, match="text field 'messages' contains list"):
        read(tmp_path, Reading("messages", template=READING.template))


def test_a_field_with_messages_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps({"talk": TURNS, "text": "not this"}))
    pieces, tally = read(tmp_path, Reading("talk", "messages", template=READING.template))
    assert tally.shapes == {"messages": 1}
    assert A.encode() in pieces[0].text


def test_an_error_in_a_record_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        "\n".join(
            map(json.dumps, [{"messages": TURNS}, {"messages": [*TURNS, {"role": "x", "content": ""}]}])
        )
    )
    with pytest.raises(
        UserError, match=r"d\.jsonl, line 2: a message has the role str 'x'\. Known roles: user"
    ):
        read(tmp_path)
    with pytest.raises(NotAConversationError, match="not valid JSON"):
        conversation_of({"messages": TURNS, "tools": "[{"})


@pytest.mark.parametrize("history", [3, "earlier", {"a": 1}, [["only one"]]])
def test_a_history_that_is_no_list_of_pairs_is_refused(history: Any) -> None:
    with pytest.raises(NotAConversationError, match="history"):
        conversation_of({"prompt": Q, "completion": A, "history": history})
