"""The command `aios` lists the commands and imports only the one that is called."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import aios
from aios import COMMANDS, load

ROOT = Path(__file__).parents[1]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8", cwd=ROOT
    )


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that `aios ARGUMENTS` imports."""
    done = python("-X", "importtime", "aios.py", *arguments)
    assert done.returncode == 0, done.stderr
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def test_help_lists_every_command_without_importing_one() -> None:
    done = python("aios.py", "--help")
    assert all(name in done.stdout for name in ("doctor", "install", "wheels", "train", "generate"))
    assert not {"doctor", "trainer", "torch", "pydantic", "yaml"} & imported_by("--help")


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "fix", "--help"], ["wheels", "match", "--help"], ["--version"]],
)
def test_the_doctor_imports_neither_torch_nor_the_trainer(arguments) -> None:
    assert not {"torch", "trainer", "transformers", "numpy"} & imported_by(*arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["explain-log", "--no-machine", "LICENSE"]])
def test_help_and_a_logs_explanation_do_not_wait_for_the_checks(arguments) -> None:
    """These imports take twice as long as the answer."""
    assert not {"torch", "trainer", "numpy", "doctor.checks"} & imported_by("doctor", *arguments)


def test_version() -> None:
    done = python("aios.py", "--version")
    assert done.stdout.startswith("aios ")
    assert len(done.stdout.split()) == 2


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["doctor", "--only", "python-version"]])
def test_a_closed_pipe_does_not_cause_a_traceback(arguments) -> None:
    """As in `aios ... | head -1`; here the pipe is closed before aios writes. Windows has its own error for it."""
    command = [sys.executable, "-m", "aios", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device here that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["doctor", "--only", "python-version"]])
def test_a_full_device_does_not_cause_a_traceback(arguments) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "aios", *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("aios: cannot write the output: ")


@pytest.mark.skipif(os.name == "nt", reason="Windows' programs close none of them")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_closed_stream_does_not_cause_a_traceback(closed: str) -> None:
    command = [shlex.quote(sys.executable), "-m", "aios", "doctor", "--only", "python-version", closed]
    done = subprocess.run(["/bin/sh", "-c", " ".join(command)], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_unknown_command_is_a_usage_error() -> None:
    done = python("aios.py", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


def test_completion_is_installed_by_aios_itself_and_not_by_each_command() -> None:
    assert "--install-completion" in python("aios.py", "--help").stdout
    assert "completion" not in python("aios.py", "doctor", "--help").stdout


def every_command() -> list[list[str]]:
    """Yield the arguments of `aios`, of every command and of every subcommand."""
    named: list[list[str]] = [[]]
    for name in COMMANDS:
        command: Any = load(COMMANDS[name])
        subcommands = command.list_commands(None) if hasattr(command, "list_commands") else []
        named += [[name], *([name, sub] for sub in subcommands if not command.get_command(None, sub).hidden)]
    return named


@pytest.mark.parametrize("arguments", every_command(), ids=" ".join)
def test_the_help_of_all_commands_looks_the_same_and_fits_80_columns_in_ascii(arguments: list[str]) -> None:
    result = CliRunner().invoke(aios.app, [*arguments, "--help"], prog_name="aios", terminal_width=80)
    assert result.exit_code == 0
    text = result.stdout
    assert text.startswith(f"Usage: {' '.join(['aios', *arguments])} [OPTIONS]")
    assert text.isascii()
    # The names of an option are on one line
    assert all(
        len(line) <= 80 or re.fullmatch(r"  --[^ ].* / --[^ ].*", line) for line in text.splitlines()
    ), text
    assert "\nOptions:\n" in text
    assert not re.search(r"<\w|list\[|default: \(", text), "types and defaults are in one form"
    assert "..." not in text.partition("Commands:")[2], "each command is described on one line"


def test_help_lists_the_options_of_training_by_section() -> None:
    text = CliRunner().invoke(aios.app, ["train", "--help"], terminal_width=80).stdout
    assert [line for line in text.splitlines() if re.fullmatch(r"\w+:", line)][:3] == [
        "Options:",
        "model:",
        "data:",
    ]
