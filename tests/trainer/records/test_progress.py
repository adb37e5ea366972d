"""The progress that a run shows: on a terminal, and in a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.records.progress import Reporter

ROOT = Path(__file__).parents[3]
# A run with large figures, an evaluation and a skipped step.
RUN = """
from trainer.records.progress import Reporter
reporter = Reporter()
figures = {"loss": 11.25, "tokens_per_second": 1234567.8, "peak_memory_bytes": 80 * 2**30}
with reporter.steps(500000, done=123450):
    for step in range(123451, 123461):
        reporter.record({"event": "train", "step": step, **figures})
    reporter.record({"event": "eval", "step": 123460, "loss": 2.5, "bits_per_byte": 3.61})
    reporter.record({"event": "nonfinite", "step": 123461})
"""


def on_a_terminal(columns: int) -> list[str]:
    """The lines shown on a terminal of this width, in order, without colours."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")
    }
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # on Linux, the end of a terminal whose other side is closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals of this kind")
@pytest.mark.parametrize("columns", [80, 160])
def test_the_progress_bar_fits_the_terminal(columns: int) -> None:
    lines = on_a_terminal(columns)
    assert max(map(len, lines)) <= columns
    bar = next(line for line in reversed(lines) if "━" in line)
    figures = r"loss 11\.2500  1,234,568 tokens/s  81,920 MiB ━[━╸╺ ]+ 123460/500000 \d:\d\d:\d\d"
    assert re.fullmatch(figures, bar.strip()), bar
    assert "step 123460/500000  held-out loss 2.5000, 3.610 bits per byte" in map(str.strip, lines)
    assert any("WARNING: step 123461/500000 was skipped" in line for line in lines)


def test_the_time_left_is_known_when_steps_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter()
    monkeypatch.setattr(type(reporter._console), "is_terminal", True)
    reporter.steps(100, done=0)
    assert reporter._bar is not None
    clock = iter(range(0, 10**6, 300))
    monkeypatch.setattr(reporter._bar, "get_time", lambda: next(clock))
    for step in range(1, 4):
        reporter._bar.update(reporter._task, completed=step)
    (task,) = reporter._bar.tasks
    assert task.speed is not None and task.time_remaining is not None


def test_a_pipe_gets_plain_lines_at_intervals_and_the_last_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("trainer.records.progress.time.monotonic", lambda: next(clock))
    reporter = Reporter()
    figures: dict[str, Any] = {"loss": 2.0, "tokens_per_second": 1000.0, "peak_memory_bytes": 2**30}
    with reporter.steps(40, done=0):
        for step in range(1, 41):
            reporter.record({"event": "train", "step": step, **figures})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 1/40  loss 2.0000  1,000 tokens/s  1,024 MiB"
    assert lines[-1].startswith("step 40/40")
    assert 3 <= len(lines) <= 6
    assert "".join(lines).isascii()
