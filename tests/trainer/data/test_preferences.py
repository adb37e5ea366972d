"""Preference data: its forms, recognized from the records, and what is learned of each pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from tests.trainer.data.instruction_files import SHARED, TURNS, A, Q, S
from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED, preferences
from trainer.data.messages import NotAConversationError, UnusableError
from trainer.errors import UserError
from trainer.models.tokenizer import ByteTokenizer

B = "I do not know."
ASKED, GOOD, BAD = TURNS[0], TURNS[1], {"role": "assistant", "content": B}
SYSTEM = {"role": "system", "content": S}
HISTORY = [ASKED, GOOD, {"role": "user", "content": "And the sun?"}]

# Source, record, and the messages before the answers. The answers are A and B.
DOCUMENTED: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("TRL dataset_formats, explicit prompt", {"prompt": Q, "chosen": A, "rejected": B}, [ASKED]),
    ("TRL dataset_formats, conversational, explicit prompt", {"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, [ASKED]),
    ("TRL dataset_formats, implicit prompt", {"chosen": f"{Q} {A}", "rejected": f"{Q} {B}"}, [ASKED]),
    ("TRL dataset_formats, conversational, implicit prompt", {"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, [ASKED]),
    ("Anthropic hh-rlhf", {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {B}"}, [ASKED]),
    (
        "Anthropic hh-rlhf, several turns",
        {key: f"\n\nHuman: {Q}\n\nAssistant: {A}\n\nHuman: And the sun?\n\nAssistant: {answer}" for key, answer in (("chosen", A), ("rejected", B))},
        HISTORY,
    ),
    (
        "UltraFeedback binarized",
        {"prompt": Q, "prompt_id": "x", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD], "messages": [ASKED, GOOD], "score_chosen": 8.0, "score_rejected": 2.0},
        [ASKED],
    ),
    ("axolotl chatml.argilla", {"system": S, "instruction": Q, "chosen_response": A, "rejected_response": B}, [SYSTEM, ASKED]),
    ("axolotl chatml.intel", {"system": S, "question": Q, "chosen": A, "rejected": B}, [SYSTEM, ASKED]),
    ("axolotl chat_template.default", {"messages": HISTORY, "chosen": GOOD, "rejected": BAD}, HISTORY),
    ("LLaMA-Factory, alpaca preference", {"instruction": Q, "input": "", "chosen": A, "rejected": B}, [ASKED]),
    ("LLaMA-Factory, sharegpt preference", {"conversations": SHARED[:1], "chosen": SHARED[1], "rejected": {"from": "gpt", "value": B}}, [ASKED]),
    ("ms-swift", {"messages": [SYSTEM, ASKED, GOOD], "rejected_response": B}, [SYSTEM, ASKED]),
    ("OpenAI, preference", {"input": {"messages": [ASKED], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}, [ASKED]),
    ("columns in capitals", {"Prompt": Q, "Chosen": A, "Rejected": B}, [ASKED]),
    ("columns that are null", {"system": None, "prompt": Q, "chosen": A, "rejected": B, "history": None}, [ASKED]),
    ("with a history", {"prompt": "And the sun?", "history": [[Q, A]], "chosen": A, "rejected": B}, HISTORY),
]  # fmt: skip


@pytest.mark.parametrize(("source", "record", "prompt"), DOCUMENTED, ids=[each[0] for each in DOCUMENTED])
def test_a_form_is_recognized(source: str, record: dict[str, Any], prompt: list[Any]) -> None:
    chosen, rejected = preferences.pair(record)
    for talk, answer in ((chosen, GOOD), (rejected, BAD)):
        said = [{**each, "content": each["content"].strip()} for each in talk.messages]
        assert said == [*prompt, answer]
        assert talk.unlearned == frozenset(range(len(prompt)))


@pytest.mark.parametrize(
    ("record", "error", "words"),
    [
        ({"prompt": Q, "completion": A}, NotAConversationError, "found prompt, completion"),
        ({"prompt": Q, "chosen": 3, "rejected": B}, NotAConversationError, "int '3'"),
        ({"prompt": Q, "chosen": A, "rejected": A}, UnusableError, "the same"),
        ({"prompt": Q, "chosen": A, "rejected": ""}, UnusableError, "empty"),
        ({"prompt": Q, "chosen": A, "rejected": None}, UnusableError, "empty"),
        ({"prompt": Q, "chosen": [GOOD], "rejected": [{"role": "assistant", "content": " "}]}, UnusableError, "empty"),
        ({"chosen": A, "rejected": B}, UnusableError, "no prompt"),
        ({"chosen": [GOOD], "rejected": [BAD]}, UnusableError, "no prompt"),
    ],
)  # fmt: skip
def test_what_is_not_a_pair_says_why(record: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        preferences.pair(record)


def written(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def load(path: Path, says: Callable[[str], None] = lambda message: None, **more: Any) -> data.Dataset:
    given: dict[str, Any] = {"eval_fraction": 0.0, "max_length": 300, "packing": False, **more}
    return data.load(DataSection(dataset_file=path, format="preference", **given), ByteTokenizer(), says)


TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="<>\x00\ufdd0\ufdd1"), min_size=1, max_size=30
).filter(lambda text: text.strip() != "")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=6), longest=st.integers(40, 200))
def test_every_token_of_an_answer_is_learned_and_none_of_a_prompt(
    tmp_path: Path, pairs: list[tuple[str, str, str]], longest: int
) -> None:
    pairs = [pair for pair in pairs if pair[1] != pair[2]] or [("a", "b", "c")]
    names = ("prompt", "chosen", "rejected")
    path = written(tmp_path / "pairs.jsonl", [dict(zip(names, pair, strict=True)) for pair in pairs])
    expected = []
    for prompt, *answers in pairs:
        for answer in answers:
            before = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n".encode()
            learned = [*answer.encode(), *b"<|im_end|>", ByteTokenizer.end_id, ord("\n")]
            expected.append(
                ([*before, *learned][:longest], len(before), learned[: longest + 1 - len(before)])
            )
    kept = [
        (first, second)
        for first, second in zip(expected[::2], expected[1::2], strict=True)
        if first[1] <= longest
    ]
    try:
        stream = load(path, max_length=longest).training
    except UserError as error:
        assert not kept and "no pair of answers" in str(error)
        return
    batch = stream.batch(np.arange(stream.blocks))
    assert stream.pairs and (stream.blocks, stream.pairs.lost) == (len(kept), len(pairs) - len(kept))
    for row, (tokens, start, learned) in enumerate(each for both in kept for each in both):
        places = min(start + len(learned) - 1, longest)
        assert batch.tokens[row, :places].tolist() == tokens[:places]
        targets = batch.targets[row].tolist()
        assert targets[: start - 1] == [IGNORED] * (start - 1)
        assert targets[start - 1 : places] == learned[: places - start + 1]
        assert targets[places:] == [IGNORED] * (len(targets) - places)
    assert batch.tokens.shape[1] <= longest


def test_batches_are_as_long_as_their_longest_answer_and_padding_has_no_weight(tmp_path: Path) -> None:
    records = [{"prompt": Q, "chosen": A, "rejected": "No. " * size} for size in (1, 40, 2)]
    stream = load(written(tmp_path / "pairs.jsonl", records)).training
    assert [stream.batch(np.array([i])).tokens.shape for i in range(3)] == [(2, 128), (2, 256), (2, 128)]
    padded = stream.batch(np.array([0, 3]))
    assert (padded.tokens.shape, padded.weight()) == ((4, 128), 1)
    assert stream.batch(np.array([3])).weight() == 0


def test_a_pair_is_never_divided_between_training_and_held_out_text(tmp_path: Path) -> None:
    records = [
        {"prompt": f"{n}?", "chosen": f"yes {n}", "rejected": f"no {n}" * (n % 5 + 1)} for n in range(40)
    ]
    path = written(tmp_path / "pairs.jsonl", records)
    for fraction in (0.01, 0.1, 0.33, 0.5):
        found = load(path, eval_fraction=fraction)
        assert found.held_out and found.training.blocks + found.held_out.blocks == 40
        last = found.held_out.batch(np.array([0]))
        text = [bytes(row[row < 256].tolist()).decode() for row in last.tokens.numpy()]
        number = text[0].partition("?")[0].rpartition("\n")[2]
        assert f"yes {number}" in text[0] and f"no {number}" in text[1]


def test_records_that_are_dropped_leave_the_others_in_pairs(tmp_path: Path) -> None:
    records = [{"prompt": Q, "chosen": A, "rejected": each} for each in (B, A, "", B)]
    said: list[str] = []
    found = load(written(tmp_path / "pairs.jsonl", records), said.append)
    assert found.training.blocks == 2
    assert any("both answers are the same" in line and "an empty answer" in line for line in said)


def test_other_records_and_texts_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.jsonl", [{"prompt": Q, "chosen": A, "rejected": B}, {"messages": TURNS}])
    with pytest.raises(UserError, match="line 2: looked for a chosen and a rejected answer"):
        load(path)
    (tmp_path / "text.txt").write_text("text", encoding="utf-8")
    with pytest.raises(UserError, match=r"is a text\. Preference data is needed"):
        load(tmp_path / "text.txt")


def test_tables_hold_pairs_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f'prompt,chosen,rejected\n"{Q}","{A}","{B}"\n', encoding="utf-8")
    assert load(path).training.blocks == 1
    pytest.importorskip("pyarrow")
    from pyarrow import Table, parquet

    parquet.write_table(
        Table.from_pylist([{"chosen": TURNS, "rejected": [ASKED, BAD]}] * 2), tmp_path / "p.parquet"
    )
    assert load(tmp_path / "p.parquet").training.blocks == 2


def test_the_preview_shows_both_answers_of_a_pair(tmp_path: Path, call: Callable[..., Result]) -> None:
    path = written(tmp_path / "pairs.jsonl", [{"prompt": Q, "chosen": A, "rejected": B * 30}] * 3)
    options = ["data", "preview", str(path), "--data-format", "preference", "--max-length", "200"]
    found = json.loads(call(*options, "--json").stdout)
    assert found["pairs"] == {"count": 3, "cut": 3, "left_out": 0}
    assert [each["answer"] for each in found["examples"]] == ["chosen", "rejected"] * 2
    assert "".join(t["text"] for t in found["examples"][0]["text"] if t["learned"]).startswith(A)
    shown = call(*options).output
    assert "Pairs: 3, each of two sequences" in shown and "Pair 1, rejected:" in shown
    refused = call("data", "preview", str(path))
    assert refused.exit_code == 2 and "--loss dpo" in refused.output
