"""Printed commands are safe to copy: into sh, which is started here, and into cmd and PowerShell, by their documented rules."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.host.machine import RecordedMachine
from doctor.host.recorded import RecordedHost
from doctor.models import Fix
from doctor.quoting import each_shell, for_cmd, for_powershell, for_sh, in_text, quoted
from tests.doctor.checks.cases import all_cases
from tests.doctor.shells import cmd_line, powershell_arguments, program_arguments

DANGEROUS = "$`%&()'!^;|<> ~#@{}=,*?[]-\\/äß日\u2019\u201daOS"
WORDS = st.text(st.sampled_from(DANGEROUS), min_size=1, max_size=30)
VARIABLES = {"OS": "Windows_NT", "A": "expanded", "SS": "expanded"}
KNOWN = (
    "C:\\Users\\Zoë B", "a$(touch PWN)`id`'q", "a&calc %OS% $x`'q", "100%", "%OS%", "a%OS%b%OS%", "D:\\AI&ML\\CUDA", "C:\\Program Files\\",
    "it's", "a!b", "^", "$HOME", "`whoami`", "\u2019; calc", "\u201d; calc", "(x86)", "a;b", "~", "#", "x\\\\", "%%", "%", "a^%OS^%",
)  # fmt: skip


def windows_forms(word: str) -> tuple[str, str]:
    """The word in a command for cmd, and in one for PowerShell."""
    commands = each_shell(f"tool {quoted(word, windows=True)}")
    return commands[0].removesuffix("  & rem in cmd"), commands[-1]


def check_windows(word: str) -> None:
    cmd, powershell = windows_forms(word)
    assert program_arguments(cmd_line(cmd, VARIABLES)) == ["tool", word], cmd
    # PowerShell passes the word on in quotes of its own; backslashes before them are its matter
    assert [arg.rstrip("\\") for arg in powershell_arguments(powershell)] == ["tool", word.rstrip("\\")], (
        powershell
    )


@pytest.mark.parametrize("word", KNOWN)
def test_a_word_reaches_a_program_of_windows_unchanged(word: str) -> None:
    check_windows(word)


@given(WORDS)
@settings(max_examples=300, deadline=None)
def test_any_word_reaches_a_program_of_windows_unchanged(word: str) -> None:
    check_windows(word)


@pytest.mark.skipif(os.name == "nt" or not shutil.which("sh"), reason="sh")
@given(st.lists(WORDS | st.sampled_from(KNOWN), min_size=30, max_size=60))
@settings(max_examples=10, deadline=None)
def test_any_word_reaches_a_program_of_sh_unchanged(words: list[str]) -> None:
    for shell in filter(None, map(shutil.which, ("sh", "bash"))):
        line = "printf '%s\\0' " + " ".join(map(for_sh, words))
        done = subprocess.run([shell, "-c", line], capture_output=True, check=True)
        assert done.stdout.decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    "word",
    [
        "C:\\Users\\me\\a b",
        "D:\\AI&ML",
        "C:\\Users\\Zoë\\(x86)",
        "torch>=2.6,<3",
        "https://x/a%2Bcu128-b%2Bc",
    ],
)
def test_an_ordinary_word_has_one_form_for_both_shells(word: str) -> None:
    assert each_shell(quoted(word, windows=True)) == (f'"{word}"',)


def test_a_word_for_which_they_differ_is_given_for_each() -> None:
    fix = Fix(id="x", applicability="manual", commands=("mkdir " + quoted("C:\\a$b", windows=True), "second"))
    assert fix.commands == ('mkdir "C:\\a$b"  & rem in cmd', "mkdir 'C:\\a$b'  # in PowerShell", "second")
    assert (
        in_text(f"Run: {quoted('%OS%', windows=True)}")
        == 'Run: %"OS"%  & rem in cmd - Run: "%OS%"  # in PowerShell'
    )
    assert fix.but(restart="shell").commands == fix.commands


@pytest.mark.parametrize("quote", [for_cmd, for_powershell])
def test_a_quotation_mark_is_refused_on_windows(quote: object) -> None:
    with pytest.raises(ValueError, match="cannot be quoted"):
        quote('a"b')  # type: ignore[operator]


BAD = {"windows": "a&calc %OS% $x`'q", "linux": "a$(touch PWN)`id`'q"}


def renamed(machine: RecordedMachine, name: str) -> RecordedMachine | None:
    """The machine with another name of the user's folder; None if it does not occur, or is needed as it is."""
    text = machine.to_json()
    changed = text
    for own in ("Users\\\\user", "Users\\\\Zoë B"):
        changed = changed.replace(own, f"Users\\\\{name}")
    changed = changed.replace("/home/user", f"/home/{name}")
    return RecordedMachine.model_validate_json(changed) if changed != text else None


def check_machine(machine: RecordedMachine) -> int:
    """Read each printed command as its shell would; return how many name the folder."""
    windows = machine.identity.os == "windows"
    bad = BAD["windows" if windows else "linux"]
    changed = renamed(machine, bad)
    if changed is None:
        return 0
    found = 0
    for finding in diagnose(RecordedHost(changed), CHECKS).findings:
        for command in (*finding.fix.commands, *finding.fix.by_hand) if finding.fix else ():
            if "calc" not in command and "PWN" not in command:
                continue
            found += 1
            if not windows:
                done = subprocess.run(
                    ["sh", "-c", f"set -- {command}; printf '%s\\0' \"$@\""], capture_output=True, cwd="/"
                )
                assert bad in done.stdout.decode(), command
            elif command.endswith("  # in PowerShell"):
                assert any(bad in word for word in powershell_arguments(command)), command
            else:
                line = cmd_line(command.removesuffix("  & rem in cmd"), VARIABLES)
                assert any(bad in word for word in program_arguments(line)), command
    return found


CASES = [case.machine for case in all_cases()]


@pytest.mark.skipif(os.name == "nt", reason="sh")
@pytest.mark.parametrize("every", [25, pytest.param(1, marks=pytest.mark.long)])
def test_the_commands_of_every_recorded_machine_are_safe_to_copy(every: int) -> None:
    assert sum(map(check_machine, CASES[::every])) > 10 / every
