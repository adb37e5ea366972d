"""Every command of aios that is printed exists and knows the options that are printed with it.

`check` runs last in each part of the suite (see `conftest.py`): it collects what the tests before it have printed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.first_hour.user import AIOS, bare_environment
from tests.printed_commands import PRINTED, Printed, commands_in, commands_in_source, merged
from tests.test_without_training_packages import ROOT, answers
from tests.test_wrong_calls import CALLS

STARTED_AS = "'/opt/my env/bin/aios'"
BARE = re.compile(r"(?<![\w/\\.-])aios (?:doctor|install|train|generate|runs|plot|export|wheels|help)\b")


def check(printed: Iterable[Printed], folder: Path) -> list[str]:
    """What is wrong with the commands: each is run with --help from a terminal whose PATH does not find aios."""
    wrong = []
    for path, options in merged(printed).items():
        line = shlex.join([AIOS, *path, "--help"])
        done = subprocess.run(
            ["sh", "-c", line],
            env=bare_environment(folder),
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
        )
        known = set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))
        if done.returncode or not done.stdout.startswith("Usage: "):
            wrong.append(f"aios {' '.join(path)}: status {done.returncode}")
        wrong += [f"aios {' '.join(path)}: no option {option}" for option in sorted(options - known)]
    return wrong


def test_every_command_in_the_texts_of_the_source_exists_and_knows_its_options(tmp_path: Path) -> None:
    found = set(commands_in_source())
    assert {("doctor", "fix"), ("install",), ("train",), ("runs",)} <= {each.path for each in found}
    assert check(found, tmp_path) == []


def test_every_command_that_the_tests_have_printed_exists_and_knows_its_options(tmp_path: Path) -> None:
    assert check(PRINTED - set(commands_in_source()), tmp_path) == []


def test_the_check_finds_what_does_not_exist(tmp_path: Path) -> None:
    text = "Next: aios doctor fix --now\nTo undo: aios install --undo, or `aios runs`. aios is fine."
    found = {*commands_in(text)}
    assert {each.path for each in found} == {("doctor", "fix"), ("install",), ("runs",)}
    assert check(found, tmp_path) == ["aios doctor fix: no option --now"]


def test_where_aios_is_not_on_path_no_text_names_it_without_its_path(tmp_path: Path) -> None:
    calls = [list(arguments) for arguments, _ in CALLS]
    for machine in ("windows-cpu", "windows-rtx4090", "linux-h100"):
        calls += [["doctor", "--machine", str(ROOT / "tests" / "machines" / f"{machine}.json"), "-v"]]
    calls += [["doctor", "explain", "torch"], ["doctor", "list"], ["train", "--help"], ["help", "doctor"]]
    with_path = 0
    for call, (_, output, _) in zip(calls, answers(calls, tmp_path, f"started-as={STARTED_AS}"), strict=True):
        assert not BARE.findall(output), (call, output)
        with_path += STARTED_AS in output
    assert with_path > 20
