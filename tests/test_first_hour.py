"""The first hour of a new user, from a terminal whose PATH does not find aios: every printed command is followed.

A command that would take long or needs a network is followed with `--help`: it exists, and starts as printed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_without_training_packages import ROOT, answers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="follows commands with sh")

AIOS = str(Path(sys.executable).with_name("aios"))
TEXT = "".join(f"{n} bottles of beer on the wall, {n} bottles of beer;\ntake one down.\n" for n in range(120))
LOG = """Traceback (most recent call last):
  File "C:\\ComfyUI_windows_portable\\ComfyUI\\main.py", line 132, in <module>
    import execution
AssertionError: Torch not compiled with CUDA enabled
"""


class User:
    """Types command lines into a terminal with a bare PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "AIOS_HOME": str(folder / "home"),
            "AIOS_CAPABILITY_FILE": os.environ.get("AIOS_CAPABILITY_FILE", str(folder / "capability.json")),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
        }

    def types(self, line: str, *statuses: int) -> str:
        """Run a line with sh and return what it prints; `statuses`: the expected ones, default 0."""
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        shown = done.stdout + done.stderr
        assert done.returncode in (statuses or (0,)), f"{line}\n{shown}"
        assert "Traceback" not in shown
        return shown

    def follows_with_help(self, shown: str) -> list[str]:
        """Run every command of aios in a text with `--help`, as it is printed up to its options."""
        commands = [*dict.fromkeys(re.findall(rf"{re.escape(AIOS)}(?: [a-z][a-z0-9-]+)+", shown))]
        for command in commands:
            words = shlex.split(command)
            subcommands = words[1:3] if words[1] in ("doctor", "wheels", "hrm-hf") else words[1:2]
            assert self.types(shlex.join([words[0], *subcommands, "--help"])).startswith("Usage: ")
        return commands


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def test_from_a_declined_installation_to_a_model_of_ones_own_text(user: User) -> None:
    (user.folder / "own.txt").write_text(TEXT, encoding="utf-8", newline="\n")
    train = ["train", "--config", str(ROOT / "configs" / "quickstart.yaml"), "--dataset-file", "own.txt"]
    ((status, declined, exception),) = answers([train], user.folder)
    assert (status, exception) == (2, None)
    assert "  aios install\n" in declined, "the command that installs what is missing"
    assert user.types(f"{AIOS} install --help").startswith("Usage: ")
    dry = user.types(f"{AIOS} {shlex.join(train)} --dry-run --output-dir out --eval-batches 1")
    assert "passes over the text" in dry and "WARNING: the run reads its text" in dry
    trained = user.types(
        f"{AIOS} {shlex.join(train)} --output-dir out --steps 2 --eval-batches 1 --warmup-steps 1"
    )
    (sample,) = re.findall(r"^Sample: (.*)$", trained, re.MULTILINE)
    assert user.types(f"{sample} --max-new-tokens 5").strip()
    assert "finished" in user.types(f"{AIOS} runs out")


def test_from_a_broken_machine_to_its_fix(user: User) -> None:
    machine = ROOT / "tests" / "machines" / "windows-cpu.json"
    shown = user.types(f"{AIOS} doctor --machine '{machine}'", 0, 1, 3)
    assert user.follows_with_help(shown), "the report names what to do next"
    assert "Dry run" not in shown
    plan = user.types(f"{AIOS} doctor --machine '{machine}' --fix --dry-run", 0, 1, 3)
    user.follows_with_help(plan)


def test_from_comfyuis_failed_log_to_its_cause_and_a_report(user: User) -> None:
    (user.folder / "comfy.log").write_text(LOG, encoding="utf-8", newline="\n")
    shown = user.types(f"{AIOS} doctor explain-log comfy.log --no-machine")
    assert "CUDA" in shown
    user.follows_with_help(shown)
    user.follows_with_help(user.types(f"{AIOS} doctor report --help"))
