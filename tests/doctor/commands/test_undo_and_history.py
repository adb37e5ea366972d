"""`aios undo` and `aios history` say it one way for fixes and installations; `doctor undo` and `doctor runs` still work."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner, Result

import aios
from tests.doctor.calls import fixes, run
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, enable_long_paths

SCHEMAS = Path(__file__).parents[3] / "doctor" / "schemas"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(aios.app, [*arguments], prog_name="aios")


def answer(schema: str, *arguments: str) -> dict:
    """The JSON that a command prints, which its schema describes."""
    result = call(*arguments)
    content = json.loads(result.stdout)
    described = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, described)
    return content


def test_undo_shows_what_it_undoes_and_asks(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run("fix", "long-paths", "--yes")
    (folder,) = fixes(host)
    for arguments, status in ((["--dry-run"], 0), ([], 1)):
        shown = call("undo", *arguments)
        assert (shown.exit_code, "LongPathsEnabled" in shown.stdout) == (status, True), shown.output
        assert enable_long_paths().is_applied(host), "nothing was changed"
    done = answer("undo", "undo", "--yes", "--json")
    assert done["run"] == folder.name
    assert [step["result"] for step in done["steps"]] == ["applied"]
    assert not enable_long_paths().is_applied(host)
    assert answer("undo", "undo", "--json")["run"] is None
    assert "nothing to undo" in call("undo").stdout


def test_a_named_run_is_undone(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run("fix", "long-paths", "--yes")
    run("fix", "temp-dir", "--yes")
    older, newer = (folder.name for folder in fixes(host))
    assert call("undo", older, "--yes").exit_code == 0
    assert not enable_long_paths().is_applied(host)
    kinds = {each["run"]: each["kind"] for each in answer("history", "history", "--json")["runs"]}
    assert kinds == {older: "undone", newer: "fixed"}
    assert call("undo", "1999").exit_code == 2


def test_the_earlier_commands_still_work(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run("fix", "--yes")
    assert call("doctor", "runs").stdout == call("history").stdout != ""
    assert call("doctor", "undo").exit_code == 0, "without a question, as before"
    assert not enable_long_paths().is_applied(host)


def test_diff_compares_the_last_two_runs_by_itself(doctor_with) -> None:
    doctor_with(LONG_PATHS)
    run()
    one = call("doctor", "diff")
    assert one.exit_code == 2 and "no two runs" in one.stderr
    run("fix", "--yes")
    found = answer("difference", "doctor", "diff", "--json")
    (changed,) = found["findings"]
    assert (changed["check"], changed["before"]["status"], changed["after"]["status"]) == (
        "long-paths",
        "error",
        "ok",
    )
    assert [each["run"] for each in found["changed_by"]] == [found["after"]]
    assert call("doctor", "diff", found["before"]).exit_code == 2


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("explanation", ["doctor", "explain", "long-paths", "--json"]),
        ("wheel-list", ["wheels", "list", "--json"]),
        ("wheel-list", ["wheels", "list", "--package", "xformers", "--json"]),
    ],
)
def test_the_json_of_other_commands_follows_its_schema(schema: str, arguments: list[str]) -> None:
    assert answer(schema, *arguments)["schema_version"] == 1
