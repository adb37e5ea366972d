"""The learning rate of each step, compared with the schedules of transformers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR
from transformers import optimization

from trainer.config import TrainingSection
from trainer.learning.schedule import learning_rate

HIGHEST = 3e-4


def rates(**training: Any) -> list[float]:
    settings = TrainingSection(**{"learning_rate": HIGHEST, **training})
    return [learning_rate(step, settings) for step in range(1, settings.steps + 1)]


def of_transformers(make: Any, steps: int, **arguments: Any) -> list[float]:
    """The rates of transformers after 1, 2, … steps: ours are counted from step 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=HIGHEST)
    scheduler: LambdaLR = make(optimizer, **arguments)
    found = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(float(scheduler.get_last_lr()[0]))
    return found


@pytest.mark.parametrize("warmup", [0, 1, 13])
def test_each_schedule_equals_that_of_transformers(warmup: int) -> None:
    steps = 100 + warmup
    asked = {"num_warmup_steps": warmup, "num_training_steps": steps}
    ours = {"steps": steps, "warmup_steps": warmup}
    expected = {
        "cosine": of_transformers(
            optimization.get_cosine_with_min_lr_schedule_with_warmup, steps, **asked, min_lr_rate=0.1
        ),
        "linear": of_transformers(optimization.get_linear_schedule_with_warmup, steps, **asked),
        "constant": of_transformers(
            optimization.get_constant_schedule_with_warmup, steps, num_warmup_steps=warmup
        ),
        "wsd": of_transformers(
            optimization.get_wsd_schedule, steps, **asked, num_decay_steps=25, decay_type="1-sqrt"
        ),
    }
    assert rates(schedule="cosine", **ours) == pytest.approx(expected["cosine"], rel=1e-12)
    falls_to_nothing = {"final_lr_fraction": 0, **ours}
    assert rates(schedule="linear", **falls_to_nothing) == pytest.approx(expected["linear"], abs=1e-18)
    assert rates(schedule="constant", **ours) == pytest.approx(expected["constant"], rel=1e-12)
    wsd = rates(schedule="wsd", decay_fraction=0.25, **falls_to_nothing)
    assert wsd == pytest.approx(expected["wsd"], rel=1e-9, abs=1e-18)


@given(
    schedule=st.sampled_from(["cosine", "linear", "wsd", "constant"]),
    steps=st.integers(1, 60),
    warmup=st.integers(0, 70),
    final=st.floats(0, 1),
    decay=st.floats(0.01, 1),
)
def test_a_schedule_rises_then_decays_to_its_fraction(
    schedule: str, steps: int, warmup: int, final: float, decay: float
) -> None:
    found = rates(
        schedule=schedule,
        steps=steps,
        warmup_steps=warmup,
        final_lr_fraction=final,
        decay_fraction=decay,
        learning_rate=1.0,
    )
    top = min(warmup, steps)
    assert found[:top] == pytest.approx([step / warmup for step in range(1, top + 1)])
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(found[max(top - 1, 0) :]))
    assert max(found) <= 1 + 1e-12
    if steps > warmup:
        assert found[-1] == pytest.approx(1.0 if schedule == "constant" else final)


@given(decay=st.floats(0.05, 0.95), final=st.floats(0, 0.9))
def test_wsd_is_constant_until_its_decay(decay: float, final: float) -> None:
    found = rates(schedule="wsd", steps=200, decay_fraction=decay, final_lr_fraction=final, learning_rate=1.0)
    for step, rate in enumerate(found, 1):
        assert (rate == 1.0) == (step <= 200 - round(200 * decay))


def test_the_rate_is_constant_after_the_last_step() -> None:
    settings = TrainingSection(steps=10, schedule="wsd")
    assert learning_rate(25, settings) == learning_rate(10, settings) == pytest.approx(3e-5)


def test_a_wsd_run_can_be_extended_before_its_decay() -> None:
    short, long = rates(schedule="wsd", steps=100), rates(schedule="wsd", steps=200)
    assert short[:80] == long[:80]
