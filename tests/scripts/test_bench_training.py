"""The programs that the benchmark compares take the same training steps, or their times would not be comparable."""

from __future__ import annotations

import bench_training
import pytest


@pytest.mark.slow
def test_all_programs_compute_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_training, "LENGTH", 32)
    found = bench_training.side_by_side(256, bf16=False, rounds=3)
    losses = [losses for _, losses in found.values()]
    assert all(len(column) == 4 for column in losses)
    for column in losses[1:]:
        assert column == pytest.approx(losses[0], rel=1e-5)
    assert losses[0][-1] < losses[0][0]
