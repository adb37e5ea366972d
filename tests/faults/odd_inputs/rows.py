"""All rows of odd inputs, with what aios promises about each. To try them: python scripts/make_reliability_table.py"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.faults.odd_inputs import models, packages, records, run_folders, texts, training
from tests.faults.odd_inputs.trial import Odd, Row, run, sample
from tests.faults.trainings import write_capability


@dataclass(frozen=True)
class Kind:
    """A kind of inputs: a generator of them, and what aios promises."""

    inputs: Callable[[random.Random], Iterator[Odd]]
    promise: str


IMPORTED = (
    "transformers.models.gpt2.modeling_gpt2",
    "doctor.commands.app",
    "doctor.commands.install",
    "trainer.commands.export",
    "trainer.commands.training",
    "trainer.run",
)
UNCHANGED = "files of the user stay as they are"
ROWS = {
    "journals": Kind(
        records.journals,
        "damage is said; status 0 only if nothing remains; each file is as before or after the fix",
    ),
    "changes before undo": Kind(records.changes_between, "a change of the user is not overwritten"),
    "capability files": Kind(
        records.capability_files, "a damaged one is said, and refused with --strict-capability"
    ),
    "wheels": Kind(packages.wheels, "a refused wheel changes nothing; wheels in --wheel-dir stay"),
    "index pages": Kind(
        packages.index_pages, "nothing outside the index is opened; nothing without a hash is installed"
    ),
    "logs": Kind(texts.logs, "explained or refused, without control characters"),
    "recordings": Kind(texts.recordings, "diagnosed or refused, without control characters"),
    "configurations": Kind(training.configurations, "trained, or refused with the key"),
    "options of a run": Kind(training.on_the_command_line, "trained, or refused with the option"),
    "model folders": Kind(models.folders, "read, or refused; no code in them runs"),
    "data sets": Kind(models.data, "read, or refused with the file and what to do"),
    "files of others": Kind(run_folders.files, UNCHANGED),
    "checkpoints that lie": Kind(run_folders.checkpoints, "refused, or resumed from an earlier one"),
    "divergence": Kind(run_folders.divergences, "ends in a sentence, with the last checkpoint"),
}


def try_row(name: str, seed: int, count: int, folder: Path, said: Callable[[str], object]) -> Row:
    """Try the inputs of a row. count: how many of them; 0 for all."""
    row = Row(name)
    inputs = ROWS[name].inputs(random.Random(f"{name} {seed}"))
    for odd in sample(inputs, count, random.Random(f"{name} {seed}")):
        verdict, why = run(odd, folder / "trial")
        row.add(odd, verdict, why)
        if verdict in ("lost", "unclear"):
            said(row.problems[-1])
    return row


def try_rows(names: list[str], seed: int, count: int, said: Callable[[str], object]) -> list[Row]:
    """Try the inputs of these rows, in a temporary folder, with what the commands import imported once."""
    before, place = dict(os.environ), Path.cwd()
    prepare_process()
    try:
        with tempfile.TemporaryDirectory(prefix="odd-") as folder:
            os.environ |= {
                "TMPDIR": folder,
                "AIOS_CAPABILITY_FILE": str(write_capability(Path(folder) / "capability.json")),
            }
            return [try_row(name, seed, count, Path(folder), said) for name in names]
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)


def prepare_process() -> None:
    """Import what commands import, and let this process reach no model on the network."""
    import torch

    for name in IMPORTED:
        import_module(name)
    torch.set_num_threads(1)
    os.environ |= {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
