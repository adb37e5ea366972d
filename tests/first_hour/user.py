"""A new user at a terminal whose PATH does not find aios: types commands, answers questions, and follows what is printed."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

QUESTION = re.compile(r"\[y/N\] $")
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
AIOS = str(Path(sys.executable).with_name("aios"))


def bare_environment(folder: Path, path: str = "/usr/bin:/bin") -> dict[str, str]:
    """The variables of a new user: nothing of this process but the capability file, which takes time to make."""
    return {
        "PATH": path,
        "HOME": str(folder),
        "AIOS_HOME": str(folder / "home"),
        "AIOS_CAPABILITY_FILE": os.environ.get("AIOS_CAPABILITY_FILE", str(folder / "capability.json")),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
    }


@dataclass
class User:
    """Types command lines with sh.

    Attributes:
        folder: where the terminal is; `cd` in a followed command changes it.
        aios: how the commands of aios begin as printed.
    """

    folder: Path
    aios: str = AIOS
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = self.environment or bare_environment(self.folder)

    def types(self, line: str, *statuses: int, answer: str | None = None) -> str:
        """Run a line and return what it prints.

        `statuses`: the expected ones, default 0. `answer`: to each question; None: stdin is not a terminal.
        """
        status, shown = self._run(line) if answer is None else self._run_on_a_terminal(line, answer)
        assert status in (statuses or (0,)), f"{line}\nstatus {status}\n{shown}"
        assert "Traceback" not in shown, shown
        assert "command not found" not in shown and ": not found" not in shown, shown
        return shown

    def follows(self, shown: str, label: str, *statuses: int, answer: str | None = None) -> str:
        """Run the one command that a text prints after `label`, as it stands there, and return what it prints."""
        return self.types(command_after(shown, label), *statuses, answer=answer)

    def follows_with_help(self, shown: str) -> list[str]:
        """Run every command of aios in a text with `--help`, as it is printed up to its options."""
        aios = re.escape(shlex.quote(self.aios))
        commands = [*dict.fromkeys(re.findall(rf"{aios}(?: [a-z][a-z0-9-]+)+", shown))]
        for command in commands:
            words = shlex.split(command)
            subcommands = words[1:3] if words[1] in ("doctor", "wheels", "hrm-hf") else words[1:2]
            assert self.types(shlex.join([words[0], *subcommands, "--help"])).startswith("Usage: ")
        return commands

    def _run(self, line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        return done.returncode, done.stdout

    def _run_on_a_terminal(self, line: str, answer: str) -> tuple[int, str]:
        """Run a line on a wide terminal, so that no printed command is wrapped."""
        status, shown = on_a_terminal(line, self.folder, self.environment, 500, answer)
        return status, COLOURS.sub("", shown)


def on_a_terminal(
    line: str, folder: Path, environment: Mapping[str, str], columns: int, answer: str = ""
) -> tuple[int, str]:
    """Run a line with sh on a terminal of this width. Return the exit status and what is printed, colours included.

    `answer`: what is typed at each question.
    """
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        ["sh", "-c", line],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown, answered = b"", 0
        while True:
            select.select([ours], [], [])
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # on Linux, the end of a terminal whose other side is closed
                break
            if not part:
                break
            shown += part
            if len(shown) > answered and QUESTION.search(shown.decode("utf-8", "replace")):
                os.write(ours, f"{answer}\n".encode())
                answered = len(shown)
    os.close(ours)
    return process.returncode, shown.decode("utf-8", "replace").replace("\r\n", "\n")


def command_after(shown: str, label: str) -> str:
    """The rest of the only line that contains `label`; or the indented line after it, if the label ends its line."""
    lines = shown.splitlines()
    (number,) = [number for number, line in enumerate(lines) if label in line]
    rest = lines[number].partition(label)[2].strip()
    return rest or lines[number + 1].strip()
