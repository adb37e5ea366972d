"""`aios hrm-hf train-actv1`: the command lines of the guides run, every option works, and a bundle is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from click.testing import Result
from transformers import AutoConfig

from trainer.commands import hrm as command
from trainer.config import TrainConfig
from trainer.hrm.configuration import HRMConfig
from trainer.records.metrics import MetricsLog

Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]

ROOT = Path(__file__).parents[3]
SAMPLE = Path("training_data/curated_datasets/test_sample.txt")
LOG = Path("artifacts/brains/actv1/metrics.jsonl")
# As printed in the guides that this command comes from
SHORT = (
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 10 "
    "--batch-size 1 --amp --gradient-checkpointing --window-size 2048 --log-file artifacts/brains/actv1/metrics.jsonl"
)
LONG = [
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 2 --amp --gradient-checkpointing --log-file artifacts/brains/actv1/metrics.jsonl",
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 2 --amp --gradient-checkpointing --window-size 2048 --log-file artifacts/brains/actv1/metrics.jsonl",
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 1 --amp --gradient-checkpointing --dataset-chunk-size 4000 --log-file "
    "artifacts/brains/actv1/metrics.jsonl",
]
TINY = ("--hidden-size", 16, "--num-heads", 2, "--h-layers", 1, "--l-layers", 1)
# In addition to those of `aios train` except --name and --architecture
OPTIONS = """
--brain-name --bundle-dir --chunk-size --cpu-offload --ddp --expansion --h-cycles --h-layers --halt-max-steps
--hidden-size --l-cycles --l-layers --lr --max-seq-len --model --num-heads --pos-encodings --processes --resume --save-dir
--strict --strict-capability --capability-file --use-8bit-optimizer --use-chunked-training --use-flash-attn
"""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample text and a model called gpt2: a small tokenizer and a configuration, without weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    monkeypatch.chdir(tmp_path)
    SAMPLE.parent.mkdir(parents=True)
    shutil.copy(ROOT / SAMPLE, SAMPLE)
    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([SAMPLE.read_text(encoding="utf-8")[:5000]], trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained("gpt2")
    AutoConfig.for_model("gpt2", n_layer=1, n_head=2, n_embd=8, vocab_size=300).save_pretrained("gpt2")
    return tmp_path


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch, call: Call) -> Callable[..., Any]:
    """Parse a command line without training."""
    seen: list[Any] = []

    def train_and_report(settings: TrainConfig, processes: Any, options: Any, finish: Any) -> int:
        seen.append(SimpleNamespace(settings=settings, processes=processes, options=options))
        return 0

    def read(*arguments: object) -> Any:
        monkeypatch.setattr(command, "train_and_report", train_and_report)
        result = call("hrm-hf", "train-actv1", "--dataset-file", "text.txt", *arguments)
        assert result.exit_code == 0, result.output
        return seen[-1]

    return read


def test_the_list_of_options_is_unchanged() -> None:
    from trainer.commands import training as commands

    def options(app: Any) -> set[str]:
        found: Any = typer.main.get_command(app)
        found = getattr(found, "commands", {"": found})
        return {option for one in found.values() for each in one.params for option in each.opts}

    assert options(command.app) == (options(commands.train) - {"--name", "--architecture", "--config"}) | set(
        OPTIONS.split()
    )


def test_the_docs_page_names_only_existing_options() -> None:
    page = (ROOT / "docs" / "hrm.md").read_text(encoding="utf-8")
    train: Any = typer.main.get_command(command.app)
    options = {option for each in train.commands["train-actv1"].params for option in each.opts}
    named = set(re.findall(r"--[a-z0-9]+(?:-[a-z0-9]+)*", page)) - {
        "--checkpoint",
        "--config",
        "--seeds",
        "--window",
    }
    assert named <= options
    assert len(named) > 20


def test_the_defaults_match_those_of_the_model(understood: Callable[..., Any]) -> None:
    found = understood("--tokenizer", "byte").settings
    assert found.model.architecture == {"model_type": "hrm_act_v1"}
    config, data, training = HRMConfig(), found.data, found.training
    assert (config.h_layers, config.l_layers, config.h_cycles, config.l_cycles) == (2, 2, 2, 2)
    assert (config.hidden_size, config.num_heads, config.expansion) == (512, 8, 2.0)
    assert (config.pos_encodings, config.halt_max_steps) == ("rope", 2)
    assert (data.max_length, training.batch_size, training.gradient_accumulation_steps) == (128, 8, 1)
    assert (training.steps, training.learning_rate, training.device) == (200, 2e-4, "auto")
    assert (training.eval_batches, found.output.output_dir) == (10, Path("artifacts/brains/actv1/runs/001"))
    assert (found.model.lora_r, found.model.lora_alpha) == (16, 32)


@pytest.mark.parametrize(
    ("arguments", "section", "key", "value"),
    [
        (["--max_seq_len", "64"], "data", "max_length", 64),
        (["--max-length", "64"], "data", "max_length", 64),
        (["--save-dir", "there"], "output", "output_dir", Path("there")),
        (["--use-flash-attn"], "model", "use_flash_attention", True),
        (["--no-use-flash-attn"], "model", "use_flash_attention", False),
        (["--window_size=256"], "model", "window_size", 256),
        (["--lr", "1e-3"], "training", "learning_rate", 1e-3),
        (["--use-8bit-optimizer"], "training", "optimizer", "adamw_8bit"),
        (["--stop-file", "STOP"], "training", "stop_file", Path("STOP")),
        (["--eval-file", "e.txt"], "data", "eval_file", Path("e.txt")),
        (["--iterate"], "data", "iterate", True),
        (["--bundle-dir", "b", "--brain-name", "n"], "output", "output_dir", Path("b/n/runs/001")),
        (
            ["--pos-encodings", "learned", "--max-seq-len", "64"],
            "model",
            "architecture",
            {"model_type": "hrm_act_v1", "pos_encodings": "learned", "max_position_embeddings": 64},
        ),
        (
            ["--h_layers", "1", "--expansion", "4", "--halt-max-steps", "5"],
            "model",
            "architecture",
            {"model_type": "hrm_act_v1", "h_layers": 1, "expansion": 4.0, "halt_max_steps": 5},
        ),
    ],
)
def test_each_option_sets_its_key_of_the_configuration(
    understood: Callable[..., Any], arguments: list[str], section: str, key: str, value: object
) -> None:
    found = understood("--tokenizer", "byte", *arguments).settings
    assert getattr(getattr(found, section), key) == value


def test_an_option_without_effect_is_recorded(
    understood: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    found = understood("--tokenizer", "byte", "--ddp")
    assert found.processes == 1
    assert [note.split()[0] for note in found.options["notes"]] == ["--ddp"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr(sys, "argv", ["aios"])
    found = understood("--tokenizer", "byte", "--ddp")
    assert (found.processes, found.options["notes"]) == (4, ())
    assert sys.argv == ["aios", "--save-dir", str(found.settings.output.output_dir)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--model", "--tokenizer byte"]),
        (["--model", "no-such-model"], ["local folder", "Hugging Face cache", "--tokenizer byte"]),
        (["--tokenizer", "byte", "--hidden-size", "30"], ["hidden_size", "heads"]),
        (["--tokenizer", "byte", "--windowsize", "30"], ["--windowsize"]),
    ],
)
def test_invalid_options_are_explained(
    call: Call, text_file: Path, arguments: list[str], words: list[str]
) -> None:
    result = call("hrm-hf", "train-actv1", "--dataset-file", text_file, *arguments)
    assert result.exit_code == 2
    assert all(word in result.stderr for word in words), result.stderr


def test_the_command_line_of_the_guides_runs_reproducibly(
    workplace: Path, call: Call, records: Records
) -> None:
    for run, again in ((1, ()), (2, ("--steps", 2))):
        result = call(*SHORT.split()[1:], *again)
        assert result.exit_code == 0, result.output
        assert "its tokenizer is used, not its weights" in result.stderr
        found = records(workplace / LOG)
        assert [record["event"] for record in found].count("run_end") == run
        assert (Path("artifacts/brains/actv1/runs") / f"{run:03}" / "checkpoints").is_dir()
    steps = [record for record in found if record["event"] == "train"]
    assert [record["step"] for record in steps] == [*range(1, 11), 1, 2]
    assert all({"ce", "bce_halt", "bce_continue", "used_segments"} <= set(record) for record in steps)
    assert all(record["window_size"] == 2048 for record in steps)
    bundle = json.loads(Path("artifacts/brains/actv1/brain.json").read_text(encoding="utf-8"))
    assert (bundle["name"], bundle["step"], bundle["completed"]) == ("actv1", 2, True)
    assert bundle["run"].endswith("002")
    result = call("generate", "--checkpoint", "artifacts/brains/actv1/model", "--max-new-tokens", 3)
    assert result.exit_code == 0, result.output


@pytest.mark.long
@pytest.mark.parametrize("line", LONG)
def test_the_longer_command_lines_of_the_guides_run(
    workplace: Path, call: Call, records: Records, line: str
) -> None:
    result = call(*line.split()[1:])
    assert result.exit_code == 0, result.output
    found = [record for record in records(workplace / LOG) if record["event"] == "train"]
    assert found[-1]["step"] == 50
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.long
def test_the_trained_model_beats_byte_bigrams(call: Call, tmp_path: Path) -> None:
    """200 steps of the configuration in the docs; bits per byte of held-out text."""
    arguments = [
        "train",
        "--config",
        ROOT / "configs/actv1.yaml",
        "--steps",
        200,
        "--output-dir",
        tmp_path / "out",
    ]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    found = re.search(r"([0-9.]+) bits per byte .*, ([0-9.]+) by pairs", result.stdout)
    assert found
    assert float(found[1]) < 3.2 < 3.4 < float(found[2])


def test_a_bundle_can_be_trained_further(
    call: Call, text_file: Path, tmp_path: Path, records: Records
) -> None:
    arguments = ["hrm-hf", "train-actv1", "--dataset-file", text_file, "--max-seq-len", 32, "--lr", 1e-2]
    arguments += ["--steps", 30]
    first = call(*arguments, "--tokenizer", "byte", *TINY, "--bundle-dir", tmp_path, "--brain-name", "Zoë")
    assert first.exit_code == 0, first.output
    model = tmp_path / "Zoë" / "model"
    assert sorted(path.name for path in model.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer_config.json",
    ]
    second = call(*arguments, "--model", model, "--hidden-size", 16, "--bundle-dir", tmp_path / "next")
    assert second.exit_code == 0, second.output
    fresh, started = (
        next(r["ce"] for r in records(tmp_path / bundle / "runs/001/metrics.jsonl") if r["event"] == "train")
        for bundle in ("Zoë", "next")
    )
    assert started < 4.5 < fresh
    other = call(*arguments, "--model", model, "--hidden-size", 64, "--bundle-dir", tmp_path / "other")
    assert other.exit_code == 2
    assert "--hidden-size 64: the model in" in other.stderr
    config = tmp_path / "sizes.json"
    config.write_text(json.dumps({"model_type": "hrm_act_v1", "hidden_size": 8, "num_attention_heads": 2}))
    scratch = call(*arguments, "--model", config, "--tokenizer", "byte", "--bundle-dir", tmp_path / "scratch")
    assert scratch.exit_code == 0, scratch.output
    assert json.loads((tmp_path / "scratch/model/config.json").read_text())["hidden_size"] == 8


def test_a_resumed_run_explores_as_an_uninterrupted_one(
    call: Call, text_file: Path, tmp_path: Path, records: Records
) -> None:
    """Losses and numbers of segments are equal to the last bit, although exploration is random in each step."""
    config = tmp_path / "sizes.json"
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "halt_max_steps": 3, "halt_exploration_prob": 0.5}
    config.write_text(json.dumps({"model_type": "hrm_act_v1", **sizes}))
    arguments = ["hrm-hf", "train-actv1", "--dataset-file", text_file, "--max-seq-len", 32, "--steps", 8]
    arguments += ["--model", config, "--tokenizer", "byte", "--checkpoint-every", 3, "--lr", 1e-2]

    def curve(bundle: str) -> list[tuple[float, ...]]:
        found = records(tmp_path / bundle / "runs" / "001" / "metrics.jsonl")
        names = ("step", "loss", "ce", "bce_halt", "bce_continue", "used_segments", "grad_norm")
        return [tuple(r[name] for name in names) for r in found if r["event"] == "train"]

    assert call(*arguments, "--bundle-dir", tmp_path / "whole").exit_code == 0
    assert call(*arguments, "--bundle-dir", tmp_path / "cut").exit_code == 0
    last = tmp_path / "cut" / "runs" / "001" / "checkpoints" / "step-00000008"
    (last / "state.json").write_text("damaged")
    resumed = call(*arguments, "--bundle-dir", tmp_path / "cut", "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "resuming from" in resumed.stderr
    assert curve("cut") == curve("whole")
    assert len(curve("whole")) == 8
    assert any(used % 1 for *_, used, _ in curve("whole"))


def test_a_stopped_run_writes_an_incomplete_bundle(
    call: Call, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, write = tmp_path / "STOP", MetricsLog.write

    def and_a_stop_file(self: MetricsLog, event: str, step: int, **fields: Any) -> None:
        write(self, event, step, **fields)
        if event == "train" and not step % 2:
            stop.touch()

    monkeypatch.setattr(MetricsLog, "write", and_a_stop_file)
    arguments = [
        "hrm-hf",
        "train-actv1",
        "--dataset-file",
        text_file,
        "--max-seq-len",
        32,
        "--tokenizer",
        "byte",
    ]
    arguments += [*TINY, "--stop-file", stop, "--bundle-dir", tmp_path / "brain"]
    result = call(*arguments)
    assert result.exit_code == 130, result.output
    bundle = json.loads((tmp_path / "brain" / "brain.json").read_text(encoding="utf-8"))
    assert (bundle["completed"], bundle["step"]) == (False, 3)
    assert (tmp_path / "brain" / "model" / "model.safetensors").exists()


def test_help_distinguishes_the_two_chunk_options_and_imports_no_torch() -> None:
    code = (
        "import sys, aios\n"
        "try: aios.app(['hrm-hf', 'train-actv1', '--help'], prog_name='aios')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    shown = " ".join(done.stdout.decode("utf-8", "replace").replace("│", "").split())
    assert "Not --dataset-chunk-size" in shown
    assert "Not --chunk-size" in shown
