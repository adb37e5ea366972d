"""Samples between steps: shown and recorded, without an effect on training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import Result

from doctor.visible import visible

Settings = dict[str, dict[str, Any]]


def test_a_sample_follows_each_evaluation_and_does_not_affect_training(
    settings: Settings,
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Callable[[Path], list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    settings["model"]["architecture"] |= {
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
    }  # draws random numbers in each step
    settings["training"] |= {"eval_every": 2}
    plain = call("train", "--config", write_config(settings), "--output-dir", tmp_path / "plain")
    assert plain.exit_code == 0
    sampled = call(
        *("train", "--config", write_config(settings), "--output-dir", tmp_path / "sampled"),
        *("--sample-prompt", "99 bottles für ", "--sample-tokens", "12"),
    )
    assert sampled.exit_code == 0

    before, after = (records(tmp_path / name / "metrics.jsonl") for name in ("plain", "sampled"))
    losses = [[record["loss"] for record in found if record["event"] == "train"] for found in (before, after)]
    assert losses[0] == losses[1]
    found = [record for record in after if record["event"] == "sample"]
    assert [record["step"] for record in found] == [2, 4, 6]
    assert not any(record["event"] == "sample" for record in before)
    last = found[-1]
    assert last["prompt"] == "99 bottles für "
    assert last["text"]
    lines = " ".join(sampled.stderr.split())
    assert " ".join(visible(last["prompt"] + last["text"]).split()) in lines

    again = call(
        *("generate", "--checkpoint", tmp_path / "sampled", "--prompt", last["prompt"]),
        *("--max-new-tokens", "12"),
    )
    assert again.stdout == last["prompt"] + last["text"] + "\n"
