"""Undo of a fix whose journal is damaged, empty or lost: it is said, and the status is not 0 while something remains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import aios
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, enable_long_paths


def run(*arguments: str) -> Result:
    return CliRunner().invoke(aios.app, ["doctor", *arguments])


def flip(line: int) -> Callable[[Path], None]:
    def change(journal: Path) -> None:
        lines = journal.read_bytes().splitlines(keepends=True)
        lines[line] = (
            lines[line].replace(b"LongPathsEnabled", b"LongPathsEnablex").replace(b"fix-temp", b"fix-temq")
        )
        journal.write_bytes(b"".join(lines))

    return change


DAMAGE = {
    "lost": Path.unlink,
    "empty": lambda journal: journal.write_bytes(b""),
    "the first line is changed": flip(0),
    "the first line is lost": lambda journal: journal.write_bytes(
        b"".join(journal.read_bytes().splitlines(True)[1:])
    ),
    "zeros": lambda journal: journal.write_bytes(b"\0" * 300),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_is_reported_and_the_status_is_not_0_while_changes_remain(
    doctor_with, damage: str
) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    before = host.machine
    assert run("--fix", "--yes").exit_code == 0
    (journal,) = Path(host.variable("AIOS_HOME"), "runs").glob("*/actions.jsonl")
    DAMAGE[damage](journal)
    assert "Its journal " in run("runs").stdout
    result = run("undo")
    assert (result.exit_code, host.machine == before) == (4, False), result.stdout
    assert f"The journal of {journal.parent.name} " in result.stdout
    assert "planned, and in effect now: set HKLM" in result.stdout
    assert run("undo").exit_code == 4
    enable_long_paths().inverse(None).apply(host)
    host._machine = before
    again = run("undo")
    assert (again.exit_code, "nothing to undo" in again.stdout) == (0, True)


def test_a_whole_journal_is_undone_and_not_mentioned(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    before = host.machine
    run("--fix", "--yes")
    assert "journal" not in run("runs").stdout
    result = run("undo")
    assert (result.exit_code, "journal" in result.stdout, host.machine) == (0, False, before)
