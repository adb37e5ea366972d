"""Several processes on Windows: gloo, without libuv, started by `aios train` itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.wine.windows_box import REPOSITORY, Aios, Windows

pytestmark = pytest.mark.wine


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(aios: Aios, windows: Windows, workplace: Path) -> None:
    text = workplace / "text für Zoë.txt"
    novel = REPOSITORY / "training_data" / "curated_datasets" / "test_sample.txt"
    text.write_bytes(novel.read_bytes()[:20_000])
    sizes = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    still = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    settings: dict[str, Any] = {
        "model": {"architecture": {**sizes, **still}, "tokenizer": "byte"},
        "data": {"dataset_file": windows.path(text), "max_length": 64},
        "training": {"steps": 4, "lr": 1e-3, "device": "cpu"},
    }
    config = workplace / "tiny.yaml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")

    def losses(name: str, *more: str) -> list[float]:
        output = windows.path(workplace / name)
        folder = windows.path(workplace)  # with letters in which torch cannot open a file
        arguments = ["train", "--config", windows.path(config), "--output-dir", output, *more]
        done = aios(*arguments, environment={"TEMP": folder, "TMP": folder})
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b"Held-out text:") == 1
        lines = (workplace / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [record["loss"] for record in map(json.loads, lines) if record["event"] == "train"]

    alone = losses("one", "--batch-size", "4")
    assert len(alone) == 4
    assert losses("two", "--batch-size", "2", "--processes", "2") == pytest.approx(alone, rel=1e-5)
