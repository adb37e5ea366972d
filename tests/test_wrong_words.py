"""Words of other trainers, misspelt commands, and calls that are nearly right: each is understood or answered with ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import aios
from doctor import started_as
from doctor.commands.usage_advice import usage_advice
from trainer.config import each_key, load
from trainer.config.other_names import ADVICE, ALIASES
from trainer.errors import UserError

Call = Callable[..., Result]
MODEL = {"architecture": {"model_type": "gpt2"}, "tokenizer": "byte"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dcotor"], "No such command 'dcotor'. Did you mean 'doctor'?"),
        (["trian"], "Did you mean 'train'?"),
        (["doctor", "fixx"], "Did you mean 'fix'?"),
        (["wheels", "mach"], "Did you mean 'match'?"),
        (["train", "--stpes", 3], "--steps"),
        (["train", "my.txt"], "--dataset-file my.txt"),
        (["train", "my.yaml"], "--config my.yaml"),
        (["train", "--packing", "false"], "--packing takes no value: write --packing or --no-packing."),
        (["train", "--bf16"], "Here it is training.amp (--amp)"),
        (["train", "--warmup-ratio", "0.1"], "Here it is training.warmup_steps (--warmup-steps)"),
        (["hrm-hf", "train-actv1", "--deepspeed", "x"], "Here it is training.sharding"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(call: Call, arguments: list[str], says: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert says in result.output
    assert "Possible options" not in result.output or "--steps" in says


@pytest.mark.parametrize(
    "arguments", [["-h"], ["doctor", "-h"], ["doctor", "fix", "-h"], ["wheels", "list", "-h"]]
)
def test_h_is_help_for_every_command(call: Call, arguments: list[str]) -> None:
    long = call(*arguments[:-1], "--help")
    assert call(*arguments).output == long.output
    assert long.output.startswith("Usage: aios")
    assert call("help", *arguments[:-1]).output == long.output


def test_version_is_a_command_too(call: Call) -> None:
    assert call("version").output == call("--version").output != ""


def test_every_alias_means_a_key_and_no_key_is_shadowed() -> None:
    keys = {key for _, key, _ in each_key()} | {field.alias for _, _, field in each_key()}
    assert not keys & set(ALIASES), "a key of ours is not another name"
    assert not keys & set(ADVICE)
    assert set(ALIASES.values()) - keys <= {"epochs"}


def test_a_file_with_the_names_of_another_trainer_is_the_same_configuration(tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_text("text", encoding="utf-8")
    ours, theirs = tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    model = "model:\n  architecture: {model_type: gpt2}\n  tokenizer: byte\n"
    ours.write_text(
        f"{model}  window_size: 32\ndata:\n  dataset_file: '{data}'\n  max_length: 64\ntraining:\n  steps: 7\n"
        "  batch_size: 3\n  checkpoint_every: 5\n  keep_checkpoints: 1\n",
        encoding="utf-8",
    )
    theirs.write_text(
        f"{model}  sliding_window: 32\ndata:\n  dataset_file: '{data}'\n  max_seq_length: 64\ntraining:\n  max_steps: 7\n"
        "  per_device_train_batch_size: 3\n  save_steps: 5\n  save_total_limit: 1\n",
        encoding="utf-8",
    )
    assert load(theirs, {}) == load(ours, {})


def test_another_trainers_key_with_other_values_is_answered_with_ours(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("training:\n  warmup_ratio: 0.1\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"training\.warmup_ratio: unknown key\. Here it is training\.warmup_steps"
    ):
        load(file, {})


def test_usage_advice_is_silent_where_it_is_not_sure() -> None:
    assert usage_advice([], ["a.txt"]) is None
    assert usage_advice([], ["--packing", "false"]) is None


@pytest.fixture
def started(request: pytest.FixtureRequest) -> str:
    command = "/opt/ai os/bin/aios"
    started_as.set_command(f"'{command}'", [*aios.COMMANDS])
    request.addfinalizer(lambda: started_as.set_command("aios", []))
    return f"'{command}'"


def test_commands_in_texts_are_printed_as_aios_was_started(call: Call, started: str) -> None:
    assert started_as.as_started("run `aios doctor fix`, then aios --help") == (
        f"run `{started} doctor fix`, then {started} --help"
    )
    for untouched in ("aios needs torch", "/opt/aios doctor", "my-aios doctor", "aios", "aios doctors"):
        assert started_as.as_started(untouched) == untouched
    runner = CliRunner()
    for arguments, says in (
        (["doctor", "explain", "nix"], "Run `{} doctor list`"),
        (["train"], "{} train --config configs/quickstart.yaml"),
        (["doctor", "explain", "--help"], "{} doctor list"),
    ):
        shown = runner.invoke(aios.app, arguments, prog_name=started).output
        assert says.format(started) in " ".join(shown.split())
        assert says.format("aios") in " ".join(call(*arguments).output.split())


def test_the_command_is_a_full_path_unless_path_finds_this_aios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    program = folder / ("aios.exe" if sys.platform == "win32" else "aios")
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.delenv("AIOS_COMMAND", raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert aios.command_name().strip("'\"") == str(folder / "aios")
    monkeypatch.setenv("PATH", str(folder))
    assert aios.command_name() == "aios"
    program.unlink()
    assert aios.command_name().endswith(" -m aios")
    monkeypatch.setenv("AIOS_COMMAND", "aios")
    assert aios.command_name() == "aios"
