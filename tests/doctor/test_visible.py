"""What would control a terminal or hide other text is shown as an escape, in every output."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import aios
from doctor.host.machine import load_machine
from doctor.report.console import Printer
from doctor.report.markdown import _escape
from doctor.visible import visible, visible_lines
from tests.doctor.checks.cases import MACHINES

HOSTILE = "\x1b]52;c;QUFB\x07\x1b[2J\u202e\x9b31m\u2066\u200b\x7f\r\x00\ud800"


def raw(text: str) -> list[str]:
    """The characters that a terminal may act on: controls, formats and surrogates, by Unicode's own categories."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"]


def test_every_character_that_is_not_plain_is_escaped() -> None:
    everything = "".join(map(chr, range(0x11000)))
    assert not raw(visible(everything).replace("\n", ""))
    assert visible("Zoë 日本語 → ✓") == "Zoë 日本語 → ✓"
    assert visible_lines("a\n\tb\r") == "a\n\tb\\r"


def test_console_and_markdown_escape() -> None:
    file = io.StringIO()
    Printer(file).line(f"a{HOSTILE}b")
    assert not raw(file.getvalue())
    assert not raw(_escape(f"a{HOSTILE}b"))


@pytest.mark.parametrize("form", [[], ["-v"], ["--markdown"], ["--json"], ["--jsonl"]], ids=str)
def test_a_recording_of_another_machine_cannot_control_the_terminal(tmp_path: Path, form: list[str]) -> None:
    machine = load_machine(MACHINES / "windows-rtx4090.json")
    text = machine.to_json().replace("RTX 4090", "RTX 4090\\u001b[2J\\u202e").replace("Zoë", "Zoë\\u009b31m")
    assert text != machine.to_json()
    path = tmp_path / "machine.json"
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(aios.app, ["doctor", *form, "--machine", str(path)])
    assert result.exit_code in (0, 1, 3), result.output
    assert not raw(result.stdout)
    assert not raw(result.stderr)
