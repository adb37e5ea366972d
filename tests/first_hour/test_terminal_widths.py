"""On a terminal of any usual width no line is longer than it, so that the terminal breaks no word; a pipe gets all text."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.first_hour.user import AIOS, COLOURS, bare_environment, on_a_terminal

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no pseudo terminals of this kind"
)

ROOT = Path(__file__).parents[2]
DOCTOR = f"{AIOS} doctor --machine {shlex.quote(str(ROOT / 'tests' / 'machines' / 'windows-cpu.json'))}"
TRAIN = f"{AIOS} train --config {shlex.quote(str(ROOT / 'configs' / 'quickstart.yaml'))}"
INSTALLER = shlex.join([sys.executable, str(ROOT / "scripts" / "install.py")])
QUICK = (DOCTOR, f"{TRAIN} --dataset-file missing.txt", f"{INSTALLER} /proc/impossible")
SLOW = (f"{AIOS} doctor explain torch", f"{AIOS} wheels list", f"{TRAIN} --dataset-file own.txt --dry-run")
LABEL = 22  # columns before an address, a path or a name that is longer than the line


@pytest.mark.parametrize(
    ("width", "colours", "calls"),
    [
        (60, True, (*QUICK, *SLOW)),
        (80, True, QUICK),
        (80, False, QUICK),
        (100, True, QUICK[:2]),
        (120, False, QUICK[:2]),
    ],
)
def test_no_line_is_longer_than_the_terminal(
    width: int, colours: bool, calls: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "own.txt").write_text("Some words of a text.\n" * 300, encoding="utf-8", newline="\n")
    environment = bare_environment(tmp_path)
    if colours:
        del environment["NO_COLOR"]
    for call in calls:
        _, shown = on_a_terminal(call, tmp_path, environment, width)
        assert len(shown.split()) > 5, call
        assert call != DOCTOR or bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)) == colours
        for line in COLOURS.sub("", shown).split("\n"):
            line = line.rsplit("\r", 1)[-1]  # what replaced it, such as progress
            assert len(line) <= width or cannot_be_broken(line), f"{call}\n{line}"


def cannot_be_broken(line: str) -> bool:
    """Whether a line is one long word, or one command, which is not broken so that it can be copied."""
    return len(line) - len(line.split()[-1]) <= LABEL or bool(re.fullmatch(r" *`[^`]+`[.,;:]?", line))


def test_a_long_line_of_words_is_found() -> None:
    assert cannot_be_broken("  from    https://example.org/a-long-name-of-a-file.whl")
    assert cannot_be_broken("      `python -m pip install --upgrade torch transformers`.")
    assert not cannot_be_broken("The checkpoints are in the folder /srv/aios/checkpoints")


def test_a_pipe_in_the_encoding_of_western_windows_gets_all_text(tmp_path: Path) -> None:
    folder = tmp_path / "Zoë ż"
    folder.mkdir()
    environment = {**bare_environment(tmp_path), "PYTHONIOENCODING": "cp1252"}
    for call in (
        DOCTOR,
        f"{AIOS} train --config '{folder}/missing.yaml'",
        f"{INSTALLER} '{folder}/x' --help",
    ):
        done = subprocess.run(
            ["sh", "-c", call], cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL
        )
        shown = (done.stdout + done.stderr).decode("cp1252")
        assert "Traceback" not in shown and "\x1b[" not in shown
        assert len(shown.split()) > 5
