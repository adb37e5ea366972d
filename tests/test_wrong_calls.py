"""Wrong calls, each answered by a sentence that says what to do, with status 2, and without an import of torch.

All calls run in one process in which torch cannot be imported; see `calls_without_training_packages`.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path

import pytest

from tests.test_without_training_packages import ROOT, Answer, answers

QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")
T = ("train", "--config", QUICKSTART)
G = ("generate", "--checkpoint", "model")
# arguments, what the answer contains (a regular expression)
CALLS: tuple[tuple[tuple[str, ...], str], ...] = (
    # commands and options
    (("trian",), "Did you mean 'train'"),
    (("dcotor",), "Did you mean 'doctor'"),
    (("instal",), "Did you mean 'install'"),
    (("doctor", "fixx"), "Did you mean 'fix'"),
    (("doctor", "explain-logg", "x"), "Did you mean 'explain-log'"),
    (("wheels", "mtach"), "Did you mean 'match'"),
    (("hrm-hf", "train"), "Did you mean 'train-actv1'"),
    (("train", "--stpes", "3"), "--steps"),
    (("train", "--learning_rte", "3"), "--learning-rate"),
    (("generate",), "--checkpoint"),
    (("export", "--checkpoint", "model"), "--output"),
    (("plot",), "RUN"),
    (("doctor", "explain"), "CHECK"),
    (("doctor", "explain-log"), "FILE"),
    (("doctor", "diff", "a"), "B"),
    (("train", "my.txt"), "--dataset-file my.txt"),
    (("train", "my.yaml"), "--config my.yaml"),
    ((*T, "--packing", "false"), "write --packing or --no-packing"),
    ((*T, "--gradient-checkpointing", "yes"), "takes no value"),
    (("doctor", "--yes"), "--yes and --dry-run require --fix"),
    (("doctor", "--json", "--markdown"), "choose one of"),
    (("doctor", "--only", "x", "fix"), "--only cannot be used with 'fix'"),
    (("doctor", "--timeout", "0"), "0.1"),
    # words of other trainers
    ((*T, "--bf16"), r"training\.amp \(--amp\)"),
    ((*T, "--warmup-ratio", "0.1"), "--warmup-steps"),
    ((*T, "--optim", "adamw_torch"), "--optimizer"),
    ((*T, "--deepspeed", "zero3.json"), "--sharding full"),
    ((*T, "--report-to", "wandb"), "--tensorboard"),
    ((*T, "--attn-implementation", "sdpa"), "--attention-backend"),
    ((*T, "--resume-from-checkpoint", "x"), "--resume"),
    ((*T, "--eval-strategy", "steps"), "--eval-every"),
    ((*T, "--save-strategy", "epoch"), "--checkpoint-every"),
    # configurations
    (("train",), r"see the last line of: \S*aios doctor"),
    (("train", "--config", "none.yaml"), r"No configuration file at .*There are: .*other\.yaml"),
    (("train", "--config", "."), "is a folder"),
    (("train", "--config", "tab.yaml"), "a tab, where YAML requires spaces"),
    (("train", "--config", "list.yaml"), "contains a list instead of sections"),
    (("train", "--config", "key.yaml"), r"Did you mean batch_size"),
    (("train", "--config", "section.yaml"), "unknown key"),
    (("train", "--config", "twice.yaml"), "given twice"),
    (("train", "--config", "windows.yaml"), "single quotes"),
    (("train", "--config", "book.pdf"), "a PDF document"),
    ((*T, "--name", "gpt2"), "byte|tokenizer|was not found|both"),
    ((*T, "--steps", "0"), "greater than or equal to 1"),
    ((*T, "--steps", "many"), "training.steps = 'many'"),
    ((*T, "--learning-rate", "0"), "greater than 0"),
    ((*T, "--batch-size", "-1"), "training.batch_size"),
    ((*T, "--optimizer", "adam"), "adamw"),
    ((*T, "--schedule", "polynomial"), "cosine"),
    ((*T, "--device", "gpu"), "training.device = 'gpu'"),
    ((*T, "--attention-backend", "flash"), "flash_attn_2"),
    ((*T, "--window-size", "-1"), "model.window_size"),
    ((*T, "--window-pattern", "SXL"), "model.window_pattern"),
    ((*T, "--use-peft"), "requires a trained model"),
    ((*T, "--lora-r", "8"), "has no effect without LoRA"),
    ((*T, "--eval-fraction", "2"), "data.eval_fraction"),
    ((*T, "--architecture", "{"), "model.architecture"),
    ((*T, "--sharding", "full", "--optimizer", "adamw_8bit"), "does not support"),
    # paths and data
    ((*T, "--dataset-file", "none.txt"), "No data set at"),
    ((*T, "--dataset-file", "empty"), "contains no data files"),
    ((*T, "--dataset-file", "book.docx"), "a Word document"),
    ((*T, "--dataset-file", "book.pdf"), "a PDF document"),
    ((*T, "--dataset-file", "archive.zip"), "a zip archive"),
    ((*T, "--dataset-file", "inside.gz"), "a PDF document"),
    ((*T, "--dataset-file", "page.txt"), "HTML"),
    ((*T, "--dataset-file", "image.txt"), "a PNG image"),
    ((*T, "--dataset-file", "zeros.txt"), "zero bytes"),
    ((*T, "--dataset-file", "cut.gz"), "incomplete or damaged"),
    ((*T, "--eval-file", "none.txt"), "No data set at"),
    ((*T, "--output-dir", "trained"), "already contains checkpoints"),
    ((*T, "--dataset-file", "text.txt", "--output-dir", "other.yaml/out"), "cannot be written to"),
    (("train", "--model", "nobody/model", "--dataset-file", "text.txt"), "was not found"),
    (("train", "--name", "text.txt", "--dataset-file", "text.txt"), "is a file"),
    ((*T, "--tokenizer", "nobody/tokenizer"), "was not found"),
    (("generate", "--checkpoint", "none"), "does not exist"),
    (("generate", "--checkpoint", "text.txt"), "is a file"),
    (("export", "--checkpoint", "none", "--output", "x"), "does not exist"),
    ((*G, "--max-new-tokens", "0"), "max-new-tokens"),
    ((*G, "--temperature", "-1"), "temperature"),
    (("runs", "none"), "none"),
    (("plot", "none"), "none"),
    # the doctor and the wheels
    (("doctor", "--only", "torhc"), "Did you mean torch"),
    (("doctor", "--machine", "none.json"), "none.json"),
    (("doctor", "--machine", "text.txt"), "text.txt"),
    (("doctor", "--python", "none"), "none"),
    (("doctor", "explain", "long-path"), "Did you mean long-paths"),
    (("doctor", "explain-log", "none.txt"), "cannot read"),
    (("doctor", "explain-log", "empty"), "cannot read"),
    (("doctor", "undo", "2020"), "there is no run '2020'"),
    (("install", "numpy"), "choose from torch"),
    (("install", "torch", "--wheel-dir", "none"), "folder not found"),
    (("wheels", "match", "--python", "3.12", "--package", "numpy"), "flash-attn"),
)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """The answers to CALLS."""
    folder = tmp_path_factory.mktemp("wrong calls")
    text = {
        "text.txt": "some text",
        "other.yaml": "model:\n",
        "tab.yaml": "training:\n\tsteps: 5\n",
        "list.yaml": "- steps\n",
        "key.yaml": "training:\n  batchsize: 5\n",
        "section.yaml": "trainer:\n  steps: 5\n",
        "twice.yaml": "training:\n  steps: 5\n  steps: 6\n",
        "windows.yaml": 'data:\n  dataset_file: "C:\\data\\new"\n',
        "page.txt": "<!DOCTYPE html><html></html>",
    }
    for name, content in text.items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    (folder / "book.pdf").write_bytes(b"%PDF-1.7\n")
    (folder / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "zeros.txt").write_bytes(b"\0" * 100)
    (folder / "inside.gz").write_bytes(gzip.compress(b"%PDF-1.7\n"))
    (folder / "cut.gz").write_bytes(gzip.compress(b"text " * 999)[:20])
    for name, inside in (("book.docx", "word/document.xml"), ("archive.zip", "a.txt")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("[Content_Types].xml" if name.endswith("x") else "b.txt", "")
            archive.writestr(inside, "text")
    (folder / "empty").mkdir()
    (folder / "model").mkdir()
    checkpoint = folder / "trained" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    return answers([[*call] for call, _ in CALLS], folder, "torch-is-there")


@pytest.mark.parametrize(
    "number", range(len(CALLS)), ids=[" ".join(Path(part).name for part in call) for call, _ in CALLS]
)
def test_a_wrong_call_is_answered_before_torch_is_imported(number: int, answered: list[Answer]) -> None:
    says = CALLS[number][1]
    status, output, exception = answered[number]
    assert (status, exception) == (2, None), output
    assert re.search(says, " ".join(output.split())), output
    assert "Traceback" not in output


def test_there_are_at_least_as_many_calls_as_in_the_review() -> None:
    assert len({call for call, _ in CALLS}) == len(CALLS) >= 71
