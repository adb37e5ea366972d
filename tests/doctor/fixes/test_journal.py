from __future__ import annotations

import json

import pytest

from doctor.fixes.journal import ACTIONS, Journal, entries, records
from doctor.fixes.plan import Step
from tests.doctor.fake_machine import enable_long_paths, make_temp

STEP = Step(fix="enable-long-paths", index=0, action=enable_long_paths())
NEXT = Step(fix="short-temp", index=0, action=make_temp())
ABSENT = enable_long_paths().inverse(None)
NO_FOLDER = make_temp().inverse(("C:\\Temp",))


def test_a_journal_has_the_earlier_state_with_its_type(run_folder) -> None:
    journal = Journal(run_folder / ACTIONS)
    journal.intend(STEP, ABSENT)
    journal.done(STEP, STEP.action)
    journal.intend(NEXT, NO_FOLDER)
    first, second = entries(run_folder)
    assert (first.step, first.inverse, first.progress) == (STEP, ABSENT, "done")
    assert (second.step, second.inverse, second.progress) == (NEXT, NO_FOLDER, "intended")


def test_every_line_is_one_json_object(run_folder) -> None:
    journal = Journal(run_folder / ACTIONS)
    journal.intend(STEP, ABSENT)
    journal.failed(STEP, "two\nlines, “non-ASCII”")
    lines = (run_folder / ACTIONS).read_text(encoding="ascii").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["intended", "failed"]


def test_an_incomplete_last_line_is_skipped(run_folder) -> None:
    journal = Journal(run_folder / ACTIONS)
    journal.intend(STEP, ABSENT)
    complete = journal.path.stat().st_size
    journal.done(STEP, STEP.action)
    whole = journal.path.read_bytes()
    for length in range(complete, len(whole) - 2):
        journal.path.write_bytes(whole[:length])
        assert [entry.progress for entry in entries(run_folder)] == ["intended"], length


def test_an_inverse_for_another_target_is_rejected(run_folder) -> None:
    (run_folder / ACTIONS).write_text(
        json.dumps(
            {
                "event": "intended",
                "step": STEP.model_dump(mode="json"),
                "inverse": {**ABSENT.model_dump(mode="json"), "name": "Other"},
            }
        )
        + "\n",
        encoding="utf-8",
    )
    assert entries(run_folder) == ()


def test_records_can_be_appended_after_an_incomplete_line(run_folder) -> None:
    journal = Journal(run_folder / ACTIONS)
    journal.intend(STEP, ABSENT)
    journal.path.write_bytes(journal.path.read_bytes() + b'{"event": "do')
    journal.intend(NEXT, NO_FOLDER)
    journal.done(NEXT, NEXT.action)
    assert [entry.progress for entry in entries(run_folder)] == ["intended", "done"]


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 64, b"[]\n1\n", b'{"event": "intended"}\n', b'{"event": "done"}\n']
)
def test_garbage_is_not_an_entry(run_folder, garbage) -> None:
    (run_folder / ACTIONS).write_bytes(garbage)
    assert entries(run_folder) == ()


def test_an_elevated_childs_journal_belongs_to_the_run(run_folder) -> None:
    child = Journal(run_folder / "elevated-1.jsonl")
    child.intend(STEP, ABSENT)
    child.done(STEP, STEP.action)
    journal = Journal(run_folder / ACTIONS)
    journal.intend(NEXT, NO_FOLDER)
    journal.done(NEXT, NEXT.action)
    journal.undone(STEP)
    assert [(entry.step, entry.progress) for entry in entries(run_folder)] == [
        (STEP, "undone"),
        (NEXT, "done"),
    ]


def test_a_missing_journal_has_no_records(run_folder) -> None:
    assert list(records(run_folder / ACTIONS)) == []
