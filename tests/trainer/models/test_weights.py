"""A continued model has all its weights, or it is refused with what was found; code in a model folder is never run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig

from tests.trainer import small_models
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import model, tokenizer, weights
from trainer.models.tokenizer import ByteTokenizer
from trainer.start import Options, find_start
from trainer.survival.checkpoint import CheckpointFolder

FILE = "model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 988097824\n"
Change = Callable[[Path], None]


@pytest.fixture(params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small model: without tied weights, and with them."""
    path = tmp_path / "model"
    small_models.model(request.param, backend=None).save_pretrained(path)
    ByteTokenizer().save(path)
    return path


def start(folder: Path, **settings: Any) -> Any:
    config = TrainConfig.model_validate({"model": {"name": str(folder), **settings}})
    return find_start(config, Options(), CheckpointFolder(folder / "none", 1), lambda _: None)


def build(folder: Path) -> tuple[Any, list[str]]:
    return weights.load(AutoConfig.from_pretrained(folder), folder, torch.float32)


def rewrite(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Change:
    def apply(folder: Path) -> None:
        save_file(change(load_file(folder / FILE)), folder / FILE, metadata={"format": "pt"})

    return apply


def rename(*names: str) -> Change:
    """Replace the weights by empty files of these names."""

    def apply(folder: Path) -> None:
        (folder / FILE).unlink()
        for name in names:
            (folder / name).write_bytes(b"x" * 200)

    return apply


def index_of_missing(folder: Path) -> None:
    (folder / FILE).rename(folder / "model-00001-of-00002.safetensors")
    files = {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


NOT_THERE: dict[str, tuple[Change, str]] = {
    "only a configuration": (
        rename(),
        "looked for model.safetensors and pytorch_model.bin, found no weights at all",
    ),
    "gguf": (rename("model.Q4_K_M.gguf"), "found model.Q4_K_M.gguf, which aios does not read"),
    "consolidated": (rename("consolidated.safetensors"), "found consolidated.safetensors, which"),
    "pth": (rename("consolidated.00.pth", "last.ckpt"), r"found consolidated.00.pth, last.ckpt, which"),
    "pickle": (rename("weights.pkl"), "found weights.pkl, which"),
    "half a download": (rename("model.safetensors.incomplete"), "found model.safetensors.incomplete, which"),
    "a part without its index": (rename("model-00001-of-00002.safetensors"), "found model-00001-of-00002"),
    "a missing part": (index_of_missing, "only a part .* Missing: model-00002-of-00002.safetensors"),
}


@pytest.mark.parametrize("case", NOT_THERE)
def test_a_folder_without_weights_is_refused_with_a_list_of_what_was_found(case: str, folder: Path) -> None:
    change, words = NOT_THERE[case]
    change(folder)
    with pytest.raises(UserError, match=words) as error:
        start(folder)
    assert "model.from_scratch: true (--from-scratch)" in str(error.value)
    assert start(folder, from_scratch=True).weights is None


def test_an_incomplete_download_in_the_cache_says_how_to_complete_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--some--model"
    snapshot = repository / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot, ignore=lambda *_: {FILE})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=r"contains no weights.*`aios fetch some/model`"):
        start(Path("some/model"))


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "damaged or incomplete"), (100, "damaged or incomplete"), (-20, "damaged or incomplete")],
)
def test_a_damaged_file_is_named(folder: Path, size: int, words: str) -> None:
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:size])
    with pytest.raises(UserError, match=f"{FILE} is {words}"):
        start(folder)


@pytest.mark.parametrize("name", [FILE, "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_git_lfs_pointer_is_named(folder: Path, name: str) -> None:
    if name == "tokenizer.json":
        (folder / "tokenizer_config.json").unlink()
    (folder / name).write_bytes(POINTER)
    with pytest.raises(UserError, match=rf"{name} in .*git-lfs pointer.*`git lfs pull`"):
        start(folder)


def test_a_git_lfs_pointer_in_an_unused_file_is_ignored(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    assert start(folder).weights == folder


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "base_model.model."])
def test_a_prefix_of_all_names_is_removed_and_reported(folder: Path, prefix: str) -> None:
    expected = load_file(folder / FILE)
    rewrite(lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})(folder)
    network, notes = build(folder)
    (note,) = notes
    assert prefix.startswith(note.split("'")[1])
    found = network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def half_prefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {("module." * (number % 2)) + name: t for number, (name, t) in enumerate(tensors.items())}


def incomplete(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    first = next(iter(tensors))
    return {f"module.{name}": tensor for name, tensor in tensors.items() if name != first}


def another_shape(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor[:-1].clone() if "norm" in name or "ln_f" in name else tensor
        for name, tensor in tensors.items()
    }


def unmerged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace("proj.weight", "proj.base_layer.weight").replace("c_attn.", "c_attn.base_layer."): t
        for name, t in tensors.items()
    }


MISFITS = {
    half_prefixed: "weights are missing: .* The files have .* other weights: module",
    incomplete: "All names begin with 'module.'; without it, they do not fit either",
    another_shape: r"has the shape \[31\], but the model needs \[32\]",
    unmerged: "LoRA adapter that was not merged",
}


@pytest.mark.parametrize("change", MISFITS)
def test_incomplete_or_mismatched_weights_are_refused(folder: Path, change: Any) -> None:
    rewrite(change)(folder)
    with pytest.raises(UserError, match=MISFITS[change]):
        build(folder)


def test_tied_weights_may_be_absent_and_unused_ones_are_named(folder: Path) -> None:
    assert build(folder)[1] == []
    rewrite(lambda tensors: tensors | {"vision.weight": torch.zeros(2)})(folder)
    assert "1 weights in" in build(folder)[1][0]
    assert "not used: vision.weight" in build(folder)[1][0]


def test_an_output_layer_that_is_not_tied_is_required(tmp_path: Path) -> None:
    small_models.model("llama", backend=None).save_pretrained(tmp_path)
    rewrite(lambda tensors: {name: t for name, t in tensors.items() if name != "lm_head.weight"})(tmp_path)
    with pytest.raises(UserError, match=r"1 of its \d+ weights are missing: lm_head\.weight"):
        build(tmp_path)


def test_code_in_a_model_folder_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object) -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", asked)
    (folder / "own.py").write_text("raise AssertionError('run')\n")
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"brings its own code \(auto_map in config\.json\)") as error:
        model.read_config(folder)
    assert "trust_remote_code" not in str(error.value)
    described = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"brings its own code \(auto_map in tokenizer_config\.json\)"):
        tokenizer.load(None, folder)


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"model\.gguf' is a file. A model is a folder"):
        start(tmp_path / "model.gguf")


@pytest.mark.parametrize("key", ["from_scratch", "resize_token_embeddings"])
def test_an_adapter_requires_unquantized_weights(folder: Path, key: str) -> None:
    with pytest.raises(UserError, match=f"model.{key} cannot be used with it"):
        start(folder, use_peft=True, **{key: True})
