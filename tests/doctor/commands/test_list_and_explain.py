"""`aios doctor list` and `explain`: the checks, their purpose, and their findings on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import aios
import doctor.commands.common
from doctor.check import GROUPS
from doctor.checks import CHECKS
from doctor.failures.table import failures
from tests.doctor.fake_machine import (
    LONG_PATHS,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    short_temp,
    state_check,
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(aios.app, ["doctor", *arguments], prog_name="aios")


@pytest.fixture
def doctor_with(monkeypatch, machine) -> Callable[..., FakeHost]:
    def install(*checks: Any) -> FakeHost:
        host = machine()
        monkeypatch.setattr(doctor.commands.common, "CHECKS", checks)
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)
        return host

    return install


def test_every_check_is_listed_on_one_line_below_its_group() -> None:
    result = run("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for check in CHECKS:
        (line,) = (line for line in lines if line.startswith(f"  {check.id} "))
        assert line.endswith(check.looks_at)
    headings = [line for line in lines if line in GROUPS.values()]
    assert headings == list(GROUPS.values())
    assert "  long-paths " in result.stdout and "Windows: The registry value" in result.stdout
    assert lines[-1] == "More about a check: aios doctor explain CHECK"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_is_explained(doctor_with, check) -> None:
    doctor_with(replace(check, probes=(), judge=lambda: 1 / 0))
    result = run("explain", check.id)
    assert result.exit_code == 0, result.output
    output = result.stdout
    for text in (check.looks_at, check.why, check.by_hand):
        assert text in output
    for row in failures().failures:
        assert (f"{row.id} {row.title}" in output) == (row.check == check.id)
    for cause in check.because_of:
        assert cause.id in output


def test_explain_shows_the_finding_and_what_its_fix_would_do(doctor_with) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    output = run("explain", "long-paths").stdout
    assert "✗ not as it should be" in output
    assert "aios doctor fix long-paths" in output
    assert enable_long_paths().describe() in output
    assert "(asks for administrator rights; undone by `aios undo`)" in output
    assert "temp-dir" not in output


def test_a_healthy_check_shows_no_fix(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    enable_long_paths().apply(host)
    output = run("explain", "long-paths").stdout
    assert "✓ as it should be" in output and "the fix" not in output


def test_an_unsafe_fix_is_marked_and_shows_when_it_takes_effect(doctor_with) -> None:
    doctor_with(state_check("risky", short_temp(), applicability="unsafe", restart="session"))
    output = run("explain", "risky").stdout
    assert "takes effect when you sign in again; may not suit every machine" in output


def test_explaining_changes_nothing(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    before = host.machine
    run("explain", "long-paths"), run("explain", "*"), run("list")
    assert host.machine == before


def test_several_are_explained_by_a_pattern(doctor_with) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    output = run("explain", "*").stdout
    assert output.count("why it matters  ") == 2


def test_an_unknown_check_gets_a_suggestion(doctor_with) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    result = run("explain", "long_path")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean long-paths?" in " ".join(result.stderr.replace("│", " ").split())
