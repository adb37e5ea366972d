"""The failure table is complete and valid, and its checks and samples exist."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from doctor.checks import CHECKS
from doctor.failures.literal import literal
from doctor.failures.table import Failure, FailureTable, Symptom, failures
from tests.doctor.failures.samples import samples

TABLE = failures()
ROWS = {"A": 29, "B": 38, "C": 48, "D": 26, "E": 26, "F": 9}
# Downloads, requested versions, programs and their memory: no check can find these in advance
WITHOUT_CHECK = {
    "A": (24, 25, 26, 27, 28, 29),
    "B": (6, 19, 27, 29, 30, 31, 32, 34, 36, 37),
    "C": (14, 22, 23, 24, 35, 37, 38, 39, 40, 43, 47, 48),
    "D": (24, 25, 26),
    "E": (17, 23, 24, 25, 26),
    "F": (8, 9),
}
ONLY_IN_A_LOG = {f"{group}{number:02}" for group, numbers in WITHOUT_CHECK.items() for number in numbers}


def test_every_known_failure_has_a_row() -> None:
    wanted = [f"{group}{number:02}" for group, count in ROWS.items() for number in range(1, count + 1)]
    assert [failure.id for failure in TABLE.failures] == wanted


def test_every_check_that_a_row_names_exists() -> None:
    named = {failure.check for failure in TABLE.failures if failure.check}
    assert named <= {check.id for check in CHECKS}


def test_a_failure_that_a_check_can_find_names_the_check() -> None:
    assert {failure.id for failure in TABLE.failures if failure.check is None} == ONLY_IN_A_LOG


def test_every_row_with_symptoms_in_a_log_has_a_sample() -> None:
    assert {failure.id for failure in TABLE.failures if failure.symptoms} == {s.row for s in samples()}


@pytest.mark.parametrize("failure", TABLE.failures, ids=lambda failure: failure.id)
def test_the_texts_are_short_and_complete(failure: Failure) -> None:
    for sentence in (failure.cause, failure.fix):
        assert 20 < len(sentence) < 260
        assert sentence.endswith(".")
    assert len(failure.title) < 80
    assert not failure.title.endswith(".")
    assert failure.link is None or failure.link.startswith("https://")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "A01", "colour": "red"}, "Extra inputs"),
        ({"symptoms": ["a|b"]}, "alternatives"),
        ({"symptoms": ["(abcd)?xyz"]}, "fixed text of at least"),
        ({"symptoms": [{"pattern": "error [unclosed"}]}, "not a regular expression"),
        ({"because_of": ["Z99"]}, "Z99"),
        ({"because_of": ["A01"]}, "its own cause"),
        ({"symptoms": []}, "neither symptoms nor a check"),
        ({"id": "Q01"}, "no group starts"),
    ],
)
def test_a_row_with_a_mistake_is_refused(change: dict[str, object], message: str) -> None:
    row = {"id": "A01", "title": "t", "cause": "c", "fix": "f", "symptoms": ["some error"]} | change
    with pytest.raises(ValidationError, match=message):
        FailureTable.model_validate({"groups": {"A": "paths"}, "failures": [row]})


def test_indirect_causes_follow_the_nearest_one() -> None:
    by_id = {failure.id: failure for failure in TABLE.failures}
    assert TABLE.causes(by_id["D08"]) == ("D14", "D07", "C01", "C02")


def test_the_file_is_plain_utf8_json() -> None:
    raw = files("doctor.failures").joinpath("failures.json").read_bytes()
    assert json.loads(raw.decode("utf-8"))["schema_version"] == 1
    assert b"\r" not in raw


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (r"\[WinError 5\].*~orch", "[WinError 5]"),
        (r"No module named '(?:a|b)'", "No module named '"),
        (r"ab?cde+f", "cde"),
        (r"x{2,3}end\b", "end"),
        (r"[abc]\d+ is not", " is not"),
        (r"(?<!there is )[Nn]o GPU", "o GPU"),
        (r"1\.x", "1.x"),
    ],
)
def test_the_literal_of_a_pattern_is_in_every_match(pattern: str, needed: str) -> None:
    assert literal(pattern) == needed


PATTERNS = sorted({s.pattern for f in TABLE.failures for s in f.symptoms})


@given(st.data())
def test_every_match_contains_its_literal(data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(PATTERNS))
    text = data.draw(st.from_regex(pattern.replace(r"\b", ""), fullmatch=False))
    if re.search(pattern, text):
        assert literal(pattern) in text


def test_a_symptom_may_be_written_as_plain_text() -> None:
    assert Symptom.model_validate("some error") == Symptom(pattern="some error")
