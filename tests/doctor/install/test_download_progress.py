"""The progress of a download: its size and its rate, on a terminal and in a pipe such as that of the page in the browser."""

from __future__ import annotations

import io

import pytest

from doctor.install import print_plan
from doctor.install.print_plan import ProgressLine, progress

MIB = 2**20


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "size", "new", "seconds", "shown"),
    [
        (512 * MIB, 2048 * MIB, 256 * MIB, 8.0, "512 of 2048 MiB, 32.0 MiB/s"),
        (3 * MIB, None, 3 * MIB, 2.0, "3 MiB, 1.5 MiB/s"),
        (MIB, MIB, 0, 0.0, "1 of 1 MiB"),
    ],
)
def test_the_rate_is_that_of_the_bytes_that_came(
    done: int, size: int | None, new: int, seconds: float, shown: str
) -> None:
    assert progress(done, size, new, seconds) == shown


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a download of 20 MiB in 10 s prints, resumed at 10 MiB."""
    clock = Clock()
    monkeypatch.setattr(print_plan, "time", clock)
    monkeypatch.setattr("sys.stderr", stream)
    line = ProgressLine()
    for tenth in range(101):
        clock.now = 100 + tenth / 10
        line("torch.whl", 10 * MIB + tenth * MIB // 10, 20 * MIB)
    return stream.getvalue()


def test_a_pipe_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(io.StringIO(), monkeypatch).splitlines()
    assert lines == [
        *(f"torch.whl: {10 + second} of 20 MiB, 1.0 MiB/s" for second in (3, 6, 9)),
        "torch.whl: 20 of 20 MiB, 1.0 MiB/s",
    ]


def test_a_terminal_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = shown(Terminal(), monkeypatch)
    assert printed.count("\n") == 1 and printed.endswith("\n")
    changes = printed.split("\r")[1:]
    assert len(changes) > 30 and changes[-1].rstrip() == "torch.whl: 20 of 20 MiB, 1.0 MiB/s"
