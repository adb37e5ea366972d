"""Trials of a training run and of an export: killed or failing at any call; resumed, it ends bit-equal."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import torch
import yaml

import aios
from doctor import capability
from doctor.capability import BackendCapability, Capability, Features
from tests.faults.preload import Fault, in_child

MOST = 100_000
STEPS = 6
NOTES = "notes of the user\n"


def sums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Trainings:
    """A run of a tiny model, with a checkpoint every second step."""

    def __init__(self, folder: Path) -> None:
        import trainer.commands.export
        import trainer.commands.training
        import trainer.run  # noqa: F401 - once, before the forks

        torch.set_num_threads(1)
        self.folder = folder
        os.environ |= {
            "AIOS_HOME": str(folder / "state"),
            "AIOS_CAPABILITY_FILE": str(write_capability(folder / "capability.json")),
            "TMPDIR": str(folder),
            "HF_HUB_OFFLINE": "1",
        }
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(_settings(folder)), encoding="utf-8")
        whole = in_child(lambda: self.train("whole"), Fault(MOST))
        assert whole.status == 0, whole.output
        self.whole = self.result("whole")
        self.calls = whole.calls
        assert self.calls > 50, self.calls

    def train(self, name: str, *more: str) -> None:
        output = str(self.folder / name)
        aios.app(["train", "--config", str(self.config), "--output-dir", output, *more], prog_name="aios")

    def result(self, name: str) -> object:
        """The newest weights and optimizer, and the losses of all steps."""
        folder = self.folder / name
        newest = folder / "checkpoints" / f"step-{STEPS:08d}"
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses = [(r["step"], r["loss"]) for r in map(json.loads, lines) if r["event"] == "train"]
        return {n: s for n, s in sums(newest).items() if n.endswith(".safetensors")}, losses

    def trial(self, chance: random.Random) -> str | None:
        """Return what was wrong after a random fault."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        (run / "notes.txt").write_text(NOTES, encoding="utf-8")
        fault = Fault.any(chance, self.calls)
        faults = [fault]
        ended = in_child(lambda: self.train("run"), fault)
        if chance.random() < 0.3:  # the resumed run is faulty, too
            faults.append(Fault.any(chance, self.calls))
            in_child(lambda: self.train("run", "--resume"), faults[1])
        named = ", ".join(map(str, faults))
        if ended.is_traceback:
            return f"{named}: {ended.output[-600:]}"
        last = in_child(lambda: self.train("run", "--resume"))
        if last.status:
            return f"{named}: the resumed run ended with {last.status}: {last.output[-400:]}"
        if self.result("run") != self.whole:
            return f"{named}: the resumed run differs"
        if (run / "notes.txt").read_text(encoding="utf-8") != NOTES:
            return f"{named}: the notes are lost"
        return None


class Exports(Trainings):
    """An export of that run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = sums(folder / "whole")
        # The model card contains the folder's name
        wanted = in_child(lambda: self.export("exported"), Fault(MOST))
        assert wanted.status == 0, wanted.output
        self.wanted, self.calls = sums(folder / "exported"), wanted.calls

    def export(self, name: str) -> None:
        whole, output = self.folder / "whole", self.folder / name
        aios.app(["export", "--checkpoint", str(whole), "--output", str(output)], prog_name="aios")

    def trial(self, chance: random.Random) -> str | None:
        shutil.rmtree(self.folder / "exported", ignore_errors=True)
        fault = Fault.any(chance, self.calls)
        ended = in_child(lambda: self.export("exported"), fault)
        if ended.is_traceback:
            return f"{fault}: {ended.output[-600:]}"
        if not (self.folder / "exported").exists():
            again = in_child(lambda: self.export("exported"))
            if again.status:
                return f"{fault}: the second export ended with {again.status}: {again.output[-400:]}"
        if sums(self.folder / "exported") != self.wanted:
            return f"{fault}: the export differs"
        if left := [*self.folder.glob(".exported.*")]:
            return f"{fault}: {left[0].name} is left"
        return "the run has changed" if sums(self.folder / "whole") != self.source else None


def _settings(folder: Path) -> dict[str, dict[str, object]]:
    text = folder / "text.txt"
    text.write_text("".join(f"{n} bottles of beer on the wall.\n" for n in range(60)), encoding="utf-8")
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16}
    return {
        "model": {"architecture": {"model_type": "gpt2", **sizes}, "tokenizer": "byte"},
        "data": {"dataset_file": str(text), "max_length": 16},
        "training": {
            "steps": STEPS, "batch_size": 2, "learning_rate": 1e-3, "device": "cpu", "checkpoint_every": 2,
        },
    }  # fmt: skip


def write_capability(path: Path) -> Path:
    """A capability file for this machine, so that no run starts the doctor."""
    features = Features(window=True, packed=True, gqa=True, dropout=True)
    works = BackendCapability(status="available", devices=("cpu",), dtypes=("float32",), features=features)
    missing = BackendCapability(status="unavailable", reasons=("package not installed",))
    found = Capability(
        written_at="2026-11-30T00:00:00Z",
        aios_version="0.1.0",
        fingerprint=capability.current_fingerprint(),
        devices=(),
        backends={**dict.fromkeys(capability.BACKENDS, missing), "sdpa": works, "manual": works},
        recommended={"cpu": "sdpa"},
    )
    capability.write(path, found)
    return path
