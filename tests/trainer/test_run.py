"""`aios train` from its configuration to its last record."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from trainer.data import entropies
from trainer.learning import evaluation, loop, objective
from trainer.learning.cross_entropy import summed_cross_entropy
from trainer.learning.step import StepResult, optimizer_step
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import memory_estimate

ROOT = Path(__file__).parents[2]
Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]

TRAIN_FIELDS = {
    *("schema_version", "event", "ts", "step", "loss", "lr", "grad_norm", "tokens", "tokens_per_second"),
    *("step_seconds", "mfu", "peak_memory_bytes", "window_size", "chunk_size", "backend"),
}


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "train"}


def events(records: list[dict[str, Any]]) -> list[str]:
    return [record["event"] for record in records if record["event"] != "train"]


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A tiny Hugging Face model with weights and a byte tokenizer."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        vocab_size=258,
        bos_token_id=256,
        eos_token_id=256,
    )
    folder = tmp_path / "tiny llama ß"
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    ByteTokenizer().save(folder)
    return folder


def test_a_run_is_recorded_from_start_to_end(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["training"] |= {"eval_every": 2, "checkpoint_every": 4}
    settings["model"]["window_size"] = 8
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    assert "bits per byte" in result.stdout
    found = records(tmp_path / "out" / "metrics.jsonl")
    evaluated = ["eval", "eval", "checkpoint", "checkpoint", "eval"]
    assert events(found) == ["run_start", *evaluated, "run_end"]
    start = found[0]
    assert start["resumed_from"] is None
    assert start["config"]["model"]["window_size"] == 8
    assert start["config"]["training"]["max_grad_norm"] == 1.0
    assert start["versions"]["torch"] == torch.__version__
    assert start["capability_fingerprint"]["torch"] == torch.__version__
    assert start["attention"]["backend"] == "sdpa"
    rejected = {item["backend"]: item["reasons"] for item in start["attention"]["rejections"]}
    assert set(rejected) == {"flash_attn_2", "flash_attn_4", "hub_kernels", "xformers"}
    assert all(rejected.values())
    trained = [record for record in found if record["event"] == "train"]
    assert [record["step"] for record in trained] == [1, 2, 3, 4, 5, 6]
    for record in trained:
        assert set(record) == TRAIN_FIELDS
        assert (record["window_size"], record["chunk_size"], record["backend"]) == (8, None, "sdpa")
        assert (record["mfu"], record["tokens"]) == (None, 64)
    evaluation = found[-2]
    assert {"loss", "ppl", "token_accuracy", "bits_per_byte"} <= set(evaluation)


def test_the_backend_is_logged_once(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    result = call("train", "--config", write_config(settings), "--attention_backend=flash_attn_2")
    assert result.exit_code == 0
    assert result.stderr.count("WARNING: flash_attn_2 requested but ") == 1
    assert "Falling back to 'sdpa'" in result.stderr
    assert result.stderr.count("INFO: Attention backend: ") == 1
    found = records(tmp_path / "out" / "metrics.jsonl")
    fallback = next(record for record in found if record["event"] == "backend_fallback")
    assert (fallback["requested"], fallback["backend"]) == ("flash_attn_2", "sdpa")


@pytest.mark.parametrize("asked", ["--attention-backend=flash_attn_2", "--use-flash-attention"])
def test_strict_refuses_a_fallback_from_a_requested_backend(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path, asked: str
) -> None:
    result = call("train", "--config", write_config(settings), asked, "--strict")
    assert result.exit_code == 2
    assert "the attention backend flash_attn_2 cannot be used" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "asked", ["--attention-backend=auto", "--attention-backend=manual", "--no-use-flash-attention"]
)
def test_strict_accepts_an_available_backend(
    settings: Settings, write_config: WriteConfig, call: Call, asked: str
) -> None:
    assert call("train", "--config", write_config(settings), asked, "--strict", "--steps", 1).exit_code == 0


def test_strict_capability_refuses_a_damaged_file(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "c.json").write_text("{")
    arguments = (
        "--config",
        write_config(settings),
        "--strict-capability",
        "--capability-file",
        tmp_path / "c.json",
    )
    result = call("train", *arguments)
    assert result.exit_code == 2
    assert "c.json" in result.stderr


def test_the_backend_does_not_change_the_losses(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["window_size"] = 5
    curves = []
    for backend in ("sdpa", "manual"):
        settings["output"]["output_dir"] = str(tmp_path / backend)
        assert (
            call("train", "--config", write_config(settings), "--attention-backend", backend).exit_code == 0
        )
        curves.append(losses(records(tmp_path / backend / "metrics.jsonl")))
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_a_resumed_run_is_bit_equal_to_an_uninterrupted_one(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {
        "steps": 8,
        "gradient_accumulation_steps": 2,
        "warmup_steps": 3,
        "checkpoint_every": 3,
    }
    settings["model"]["gradient_checkpointing"] = True
    assert call("train", "--config", write_config(settings)).exit_code == 0
    whole = losses(records(tmp_path / "out" / "metrics.jsonl"))

    last = tmp_path / "out" / "checkpoints" / "step-00000008"
    (last / "state.json").write_text("damaged")
    result = call("train", "--config", write_config(settings), "--resume")
    assert result.exit_code == 0, result.output
    assert "step-00000008 is damaged" in result.stderr
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert losses(found) == whole
    assert [record["resumed_from"] for record in found if record["event"] == "run_start"] == [None, 6]
    assert sum(record["event"] == "train" for record in found) == 8


def test_resuming_a_complete_run_takes_no_steps(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    call("train", "--config", write_config(settings))
    before = losses(records(tmp_path / "out" / "metrics.jsonl"))
    result = call("train", "--config", write_config(settings), "--resume")
    assert result.exit_code == 0
    assert "bits per byte" in result.stdout
    assert losses(records(tmp_path / "out" / "metrics.jsonl")) == before


def test_resuming_with_more_steps_continues_without_a_warning(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    call("train", "--config", write_config(settings))
    result = call("train", "--config", write_config(settings), "--resume", "--steps", 9)
    assert result.exit_code == 0
    assert "changed since the checkpoint" not in result.stderr
    assert list(losses(records(tmp_path / "out" / "metrics.jsonl"))) == list(range(1, 10))


def test_a_resumed_run_keeps_its_model(settings: Settings, write_config: WriteConfig, call: Call) -> None:
    call("train", "--config", write_config(settings))
    settings["model"]["architecture"]["n_layer"] = 3
    result = call("train", "--config", write_config(settings), "--resume")
    assert result.exit_code == 2
    assert "model.architecture differs from the checkpoint" in result.stderr


def test_a_new_run_never_overwrites_an_old_one(
    settings: Settings, write_config: WriteConfig, call: Call
) -> None:
    call("train", "--config", write_config(settings))
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 2
    assert "--resume" in result.stderr


def test_resume_without_a_checkpoint_starts_from_the_beginning(
    settings: Settings, write_config: WriteConfig, call: Call
) -> None:
    result = call("train", "--config", write_config(settings), "--resume")
    assert result.exit_code == 0
    assert "starting from the beginning" in result.stderr


def start_training(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "aios.py"), "train", *map(str, arguments)]
    flags: dict[str, Any] = {}
    if sys.platform == "win32":
        flags["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        **flags,
    )


def wait_for_step(log: Path, step: int) -> None:
    while True:
        if log.exists() and '"event": "train", "ts": ' in (text := log.read_text(encoding="utf-8")):
            steps = [json.loads(line)["step"] for line in text.splitlines() if line.endswith("}")]
            if max(steps) >= step:
                return
        time.sleep(0.02)


def test_a_killed_and_resumed_run_is_bit_equal_to_an_uninterrupted_one(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {"steps": 120, "gradient_accumulation_steps": 2, "checkpoint_every": 7}
    config = write_config(settings)
    log = tmp_path / "out" / "metrics.jsonl"
    process = start_training("--config", config)
    wait_for_step(log, 16)
    process.kill()  # SIGKILL: it cannot clean up
    process.communicate()
    assert (
        max(losses([json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")])) < 120
    )

    assert call("train", "--config", config, "--resume").exit_code == 0
    assert call("train", "--config", config, "--output-dir", tmp_path / "whole").exit_code == 0
    expected = losses(records(tmp_path / "whole" / "metrics.jsonl"))
    assert losses(records(log)) == expected
    assert list(expected) == list(range(1, 121))


@pytest.mark.skipif(sys.platform == "win32", reason="a console sends Ctrl-C on Windows, not a signal number")
def test_ctrl_c_stops_after_the_current_step_with_a_checkpoint(
    settings: Settings, write_config: WriteConfig, records: Records, tmp_path: Path
) -> None:
    settings["training"]["steps"] = 100_000
    log = tmp_path / "out" / "metrics.jsonl"
    process = start_training("--config", write_config(settings))
    wait_for_step(log, 3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr.decode()
    assert b"Stopping after this step" in stderr
    assert b"Continue with --resume" in stdout
    found = records(log)
    assert events(found)[-3:] == ["checkpoint", "stopped", "run_end"]
    assert (
        tmp_path / "out" / "checkpoints" / "latest"
    ).read_text().strip() == f"step-{found[-1]['step']:08d}"


def test_a_second_ctrl_c_stops_at_once(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = optimizer_step

    def impatient(*arguments: Any) -> StepResult:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, "optimizer_step", impatient)
    before = signal.getsignal(signal.SIGINT)
    assert call("train", "--config", write_config(settings)).exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert events(found) == ["run_start", "stopped"]
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_loss_that_is_not_a_number_is_skipped_recorded_and_finally_ends_the_run(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings["training"] |= {"steps": 50, "checkpoint_every": 1}
    monkeypatch.setattr(memory_estimate, "estimate", lambda *arguments: None)  # it takes such a step, too
    real, count = summed_cross_entropy, iter(range(1000))
    monkeypatch.setattr(
        objective,
        "summed_cross_entropy",
        lambda *a: real(*a) * (float("nan") if next(count) in (1, *range(4, 99)) else 1.0),
    )
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 1
    assert "not finite for 20 steps in a row, up to step 24" in result.stderr
    found = records(tmp_path / "out" / "metrics.jsonl")
    skipped = [record for record in found if record["event"] == "nonfinite"]
    assert [record["step"] for record in skipped] == [2, *range(5, 25)]
    assert all(record["loss"] is None for record in skipped)
    assert found[-1]["event"] == "stopped"
    checkpoints = tmp_path / "out" / "checkpoints"
    assert (
        f"The last good checkpoint is {checkpoints / 'step-00000003'}. Delete the later ones" in result.stderr
    )


@pytest.mark.parametrize(("first_bad", "good"), [(1, None), (2, "step-00000002"), (3, "step-00000004")])
def test_a_held_out_loss_that_is_not_finite_ends_the_run_with_the_last_good_checkpoint(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_bad: int,
    good: str | None,
) -> None:
    settings["training"] |= {"eval_every": 2, "checkpoint_every": 2}
    real, count = evaluation.evaluate_on, iter(range(1, 99))
    bad = evaluation.Evaluation(math.nan, math.inf, 0.0, math.nan)
    monkeypatch.setattr(evaluation, "evaluate_on", lambda *a: real(*a) if next(count) < first_bad else bad)
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 1
    step = 2 * first_bad
    assert f"The held-out loss is not finite after step {step}. " in result.stderr
    assert f"step {step}/6  held-out loss is not finite" in result.stderr
    expected = (
        f"last good checkpoint is {tmp_path / 'out' / 'checkpoints' / good}" if good else "No checkpoint"
    )
    assert expected in result.stderr
    assert records(tmp_path / "out" / "metrics.jsonl")[-1]["event"] == "stopped"


@pytest.mark.parametrize(
    ("option", "path"), [("--output-dir", "data/run"), ("--output-dir", "data"), ("--log-file", "data/a.txt")]
)
def test_a_run_does_not_write_into_its_data_set(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    text_file: Path,
    tmp_path: Path,
    option: str,
    path: str,
) -> None:
    (tmp_path / "data").mkdir()
    text_file.rename(tmp_path / "data" / "a.txt")
    settings["data"]["dataset_file"] = str(tmp_path / "data")
    result = call("train", "--config", write_config(settings), option, tmp_path / path)
    assert result.exit_code == 2
    assert f"is in the data set {tmp_path / 'data'}" in result.stderr
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["a.txt"]


def test_continued_pre_training_starts_from_the_weights_and_lowers_the_loss(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    settings["model"] = {"name": str(model_folder)}
    settings["training"] |= {"steps": 30, "learning_rate": 3e-3}
    before = (model_folder / "model.safetensors").read_bytes()
    assert call("train", "--config", write_config(settings)).exit_code == 0
    found = losses(records(tmp_path / "out" / "metrics.jsonl"))
    assert found[30] < found[1] - 1
    assert (model_folder / "model.safetensors").read_bytes() == before

    settings["model"]["name"] = str(tmp_path / "out" / "checkpoints" / "step-00000030")
    settings["output"]["output_dir"] = str(tmp_path / "again")
    assert call("train", "--config", write_config(settings), "--steps", 1).exit_code == 0
    assert losses(records(tmp_path / "again" / "metrics.jsonl"))[1] < found[1] - 1


def test_a_folder_without_weights_is_trained_from_scratch_only_if_that_is_asked_for(
    settings: Settings, write_config: WriteConfig, call: Call, model_folder: Path
) -> None:
    (model_folder / "model.safetensors").unlink()
    settings["model"] = {"name": str(model_folder)}
    refused = call("train", "--config", write_config(settings))
    assert refused.exit_code == 2
    assert "contains no weights: looked for model.safetensors" in refused.stderr
    assert "--from-scratch" in refused.stderr
    result = call("train", "--config", write_config(settings), "--from-scratch")
    assert result.exit_code == 0, result.output
    assert "starts with new, random weights" in result.stderr


def test_a_continued_model_keeps_the_window_it_was_trained_with(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    call("train", "--config", write_config(settings), "--window-size", 7)
    trained = tmp_path / "out" / "checkpoints" / "step-00000006"
    for asked, expected in ((), 7), (("--window-size", 0), None), (("--window-size", 3), 3):
        out = tmp_path / f"out{expected}"
        result = call(
            "train", "--config", write_config(settings), "--name", trained, "--output-dir", out, *asked
        )
        assert result.exit_code == 0, result.output
        assert records(out / "metrics.jsonl")[1]["window_size"] == expected


def test_the_prototype_configuration_runs_with_a_small_model_in_place_of_the_8b(
    call: Call, model_folder: Path, records: Records, text_file: Path, tmp_path: Path
) -> None:
    result = call(
        *(
            "train",
            "--config",
            ROOT / "configs" / "prototype_rtx4090_16gb_no_deepspeed.yaml",
            "--name",
            model_folder,
        ),
        *(
            "--max-length",
            32,
            "--steps",
            2,
            "--warmup-steps",
            0,
            "--device",
            "cpu",
            "--dataset-file",
            text_file,
        ),
        *("--output-dir", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    start = records(tmp_path / "out" / "metrics.jsonl")[0]
    assert (start["attention"]["requested"], start["attention"]["backend"]) == ("flash_attn_2", "sdpa")
    assert start["precision"] == "bfloat16"


def test_the_prototype_without_its_model_names_both_places_and_what_to_do(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("train", "--config", ROOT / "configs" / "prototype_rtx4090_16gb_no_deepspeed.yaml")
    assert result.exit_code == 2
    shown = result.stderr
    assert "nvidia/nemotron-3-8b-base-4k" in shown
    assert str(tmp_path / "nvidia" / "nemotron-3-8b-base-4k") in shown
    assert "Hugging Face cache" in shown
    assert "from scratch" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--window-size", "-1"], "model.window_size = '-1'"),
        (["--dataset-file", "none.txt"], "No data set at"),
        (["--max-length", "65"], "the model has 64 positions"),
        (["--max-length", "64", "--eval-fraction", "0.001"], "is too short"),
        (["--device", "cuda:7"], "sees 0 GPUs" if not torch.cuda.is_available() else "GPUs"),
        (
            ["--architecture", '{"model_type": "gpt7"}'],
            "transformers has no such model type. Did you mean gptj, gpt2",
        ),
        (
            ["--architecture", '{"model_type": "gpt2", "n_layers": 2}'],
            "gpt2 has no such key. Did you mean n_layer",
        ),
        (["--architecture", '{"model_type": "gpt2", "n_layer": "two"}'], "does not accept these values"),
        (["--architecture", '{"model_type": "gpt2", "n_embd": 65, "n_head": 2}'], "No causal language model"),
        (["--architecture", '{"model_type": "vit"}'], "vit"),
        (
            ["--architecture", '{"model_type": "bloom"}'],
            "a bloom model computes attention itself",
        ),
        (
            ["--architecture", '{"model_type": "gemma3_text", "use_bidirectional_attention": true}'],
            "use_bidirectional_attention = True attends in both directions",
        ),
        (["--window-size", "5", "--full-layers", "7"], "there is no layer 7: the model has 2"),
        (["--architecture", '{"model_type": "gpt2", "vocab_size": 100}'], "vocabulary is 100"),
        (["--architecture", "{"], "model.architecture = '{'"),
        (["--tokenizer", "no/such"], "model.tokenizer (--tokenizer) = 'no/such'"),
    ],
)
def test_bad_input_is_explained_and_ends_with_status_2(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    arguments: list[str],
    words: str,
    tmp_path: Path,
) -> None:
    result = call("train", "--config", write_config(settings), *arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_reported(
    settings: Settings, write_config: WriteConfig, call: Call, model_folder: Path
) -> None:
    (model_folder / "model.safetensors").write_bytes(b"\x00" * 50)
    settings["model"] = {"name": str(model_folder)}
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 2
    assert "model.safetensors is damaged or incomplete" in result.stderr


def test_folders_with_spaces_and_letters_of_any_language_and_a_pipe_without_unicode(
    settings: Settings, tmp_path: Path, write_config: WriteConfig
) -> None:
    home = tmp_path / "Jürgen Müller 漢字"
    home.mkdir()
    settings["data"]["dataset_file"] = str(home / "Téxt ß.txt")
    (home / "Téxt ß.txt").write_text("a line that is long enough to train on ä\n" * 60, encoding="utf-8")
    settings["output"] = {"output_dir": str(home / "aus gabe"), "log_file": str(home / "log ö.jsonl")}
    process = start_training("--config", write_config(settings), environment={"PYTHONIOENCODING": "cp1252"})
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr.decode("cp1252")
    assert "Jürgen Müller \\u6f22\\u5b57" in stdout.decode("cp1252")
    assert (home / "log ö.jsonl").exists()
    assert (home / "aus gabe" / "checkpoints" / "latest").exists()


@pytest.mark.long
def test_the_quickstart_learns(
    call: Call, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ("--config", "configs/quickstart.yaml", "--device", "cpu", "--output-dir", tmp_path / "out")
    result = call("train", *arguments)
    assert result.exit_code == 0, result.output
    evaluations = [r for r in records(tmp_path / "out" / "metrics.jsonl") if r["event"] == "eval"]
    unigram, bigram = entropies(
        (ROOT / "training_data" / "curated_datasets" / "test_sample.txt").read_bytes()
    )
    assert evaluations[-1]["bits_per_byte"] < 2.2 < bigram - 1 < unigram - 1
