"""Processes that differ are refused by name before the first step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.distributed import agreement
from trainer.distributed.agreement import check_same, check_shared_folder
from trainer.errors import UserError


class Together:
    """Processes as threads: `all_texts` exchanges the texts of all."""

    def __init__(
        self, rank: int, count: int, board: dict[Any, list[str]], barrier: threading.Barrier
    ) -> None:
        self.rank, self.count, self.first, self.name = rank, count, rank == 0, f"rank {rank} on host-{rank}"
        self._board, self._barrier, self._round = board, barrier, 0

    def all_texts(self, text: str) -> list[str]:
        self._round += 1
        self._board.setdefault(self._round, [""] * self.count)[self.rank] = text
        self._barrier.wait(60)
        return self._board[self._round]

    def sum(self, *figures: float) -> tuple[float, ...]:
        return tuple(float(text) for text in self.all_texts(str(figures[0])))


def together(count: int, work: Callable[[Any], None]) -> list[str]:
    """The error of each process; empty for none."""
    board: dict[Any, list[str]] = {number: [""] * count for number in range(1, 9)}
    barrier, errors = threading.Barrier(count), [""] * count

    def run(rank: int) -> None:
        try:
            work(Together(rank, count, board, barrier))
        except UserError as error:
            errors[rank] = str(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_the_process_that_differs_is_named_in_all_of_them() -> None:
    versions = [{"torch": "2.13.0"}, {"torch": "2.13.0"}, {"torch": "2.12.0"}]
    errors = together(3, lambda group: check_same(group, "their versions", versions[group.rank]))
    assert len({*errors}) == 1
    assert "differ in their versions: rank 2 on host-2 has torch = 2.12.0 instead of 2.13.0" in errors[0]


def test_equal_processes_are_not_refused() -> None:
    assert together(3, lambda group: check_same(group, "x", {"a": 1.5, "b": None})) == ["", "", ""]


def test_many_differences_are_counted_and_missing_ones_shown() -> None:
    figures = [{str(n): n for n in range(6)}, {"0": 1}]
    errors = together(2, lambda group: check_same(group, "it", figures[group.rank]))
    assert "0 = 1 instead of 0, 1 = missing instead of 1, 2 = missing instead of 2, and 3 more" in errors[0]


def test_a_folder_that_one_process_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "PATIENCE", 0.3)
    (tmp_path / "shared").mkdir()
    (tmp_path / "other").mkdir()
    folders = [tmp_path / "shared", tmp_path / "shared", tmp_path / "other"]
    errors = together(3, lambda group: check_shared_folder(group, folders[group.rank], "--output-dir"))
    assert all(
        "rank 2 on host-2 does not see what the first process writes there" in error for error in errors
    )
    assert "rank 1 on" not in errors[0]
    assert [*tmp_path.glob("*/*")] == [], "nothing is left there"
    folders[2] = tmp_path / "shared"
    assert together(3, lambda group: check_shared_folder(group, folders[group.rank], "")) == ["", "", ""]
    assert [*(tmp_path / "shared").iterdir()] == []
