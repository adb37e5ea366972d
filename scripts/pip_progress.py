"""Run pip with one line that shows what it is doing; without a terminal, silently."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

KEPT = 40  # lines of pip's output, shown if it fails
SHOWN = ("Collecting", "Downloading", "Building", "Installing", "Preparing", "Using cached")


def run_pip(python: Path, arguments: Sequence[str], folder: Path) -> int:
    """Run `pip install` in a folder and return its exit status. Its errors are printed."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if not sys.stdout.isatty():
        sys.stdout.flush()
        return subprocess.call([*pip, "-qq", *arguments], cwd=folder)
    last: deque[str] = deque(maxlen=KEPT)
    with subprocess.Popen(
        [*pip, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout
        for line in running.stdout:
            last.append(line)
            if line.strip().startswith(SHOWN):
                _show(line)
    _show("")
    if running.returncode:
        sys.stdout.write("".join(last))
    return running.returncode


def _show(text: str) -> None:
    """Replace the line on the terminal."""
    width = shutil.get_terminal_size().columns - 1
    encoding = sys.stdout.encoding or "ascii"
    shown = text.strip().encode(encoding, "backslashreplace").decode(encoding)[:width]
    sys.stdout.write(f"\r{shown:<{width}}" if shown else f"\r{'':<{width}}\r")
    sys.stdout.flush()
