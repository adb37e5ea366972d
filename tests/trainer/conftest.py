"""Fixtures: small models, a small text, and a capability file that lists what a CPU supports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from doctor import capability
from doctor.capability import BackendCapability, Capability, Features

ARCHITECTURE = {
    "model_type": "gpt2",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_positions": 64,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
TEXT = "".join(f"{n} bottles of beer on the wall, {n} bottles of beer;\ntake one down.\n" for n in range(120))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices are faster on one thread, especially when several tests run at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def capability_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capability file for this machine, so that no run starts the doctor."""
    path = tmp_path_factory.mktemp("state") / "capability.json"
    everything = Features(window=True, packed=True, gqa=True, dropout=True)
    works = BackendCapability(
        status="available", devices=("cpu",), dtypes=("float32", "float16", "bfloat16"), features=everything
    )
    missing = BackendCapability(status="unavailable", reasons=("package not installed",))
    capability.write(
        path,
        Capability(
            written_at="2026-11-21T00:00:00Z",
            aios_version="0.1.0",
            fingerprint=capability.current_fingerprint(),
            devices=(),
            backends={**dict.fromkeys(capability.BACKENDS, missing), "sdpa": works, "manual": works},
            recommended={"cpu": "sdpa"},
        ),
    )
    return path


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch, capability_file: Path) -> None:
    monkeypatch.setenv("AIOS_CAPABILITY_FILE", str(capability_file))


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def settings(tmp_path: Path, text_file: Path) -> dict[str, dict[str, Any]]:
    """A configuration of a run that takes a second."""
    return {
        "model": {"architecture": dict(ARCHITECTURE), "tokenizer": "byte"},
        "data": {"dataset_file": str(text_file), "max_length": 32},
        "training": {"steps": 6, "batch_size": 2, "learning_rate": 1e-3, "device": "cpu"},
        "output": {"output_dir": str(tmp_path / "out")},
    }


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[Any], Path]:
    def write(settings: Any) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.fixture
def records() -> Callable[[Path], list[dict[str, Any]]]:
    """The records of a log file."""

    def read(path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return read
