"""Examine how aios handles one model type of transformers, on a tiny model.

A model that plain transformers has saved is trained for three steps, resumed bit-equal, sampled with the cache, and exported;
plain transformers then loads the result and computes the same logits. Or the model is refused in a sentence.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_architectures
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from trainer import export, generate
from trainer.attention import huggingface, model_proof
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import trial
from trainer.models.generation import generate as sample
from trainer.models.sampling import Sampling
from trainer.models.tokenizer import ByteTokenizer
from trainer.records.progress import Reporter
from trainer.run import run
from trainer.start import Options

CausalLM: Any = AutoModelForCausalLM
TEXT = "".join(f"{n} bottles of beer on the wall, {n} bottles of beer;\ntake one down.\n" for n in range(60))
# The frequencies of `switching` change at a length between that of the prompt and that of the prompt with NEW tokens
PROMPT = [*b"ten bottles"]
NEW = 24
TOLERANCE = 2e-4  # of the largest logit: both compute in float32, in another order


class FaultError(Exception):
    """Neither trained correctly nor refused."""


@dataclass(frozen=True)
class Examined:
    """The result for one model type.

    Attributes:
        packing: whether several documents in a row are kept apart.
        window: whether it can be trained with a window.
        refusal: why it cannot be trained; None if it can.
    """

    model_type: str
    packing: bool = False
    window: bool = False
    refusal: str | None = None


def examine(model_type: str, folder: Path) -> Examined:
    """Examine one model type, in an empty folder.

    Raises:
        FaultError: it is neither trained correctly nor refused in a sentence.
    """
    if reason := _refused_by_its_configuration(model_type, folder):
        return Examined(model_type, refusal=reason)
    torch.manual_seed(0)
    config = tiny_architectures.tiny(model_type)
    try:
        plain = _save_plain(config, folder / "model")
    except ImportError:  # a package is missing
        return Examined(model_type, refusal=_refusal_of_configuration(model_type, folder))
    try:
        _train(folder / "model", folder / "out")
    except UserError as error:
        return Examined(model_type, refusal=_reason(error, config.model_type))
    _check_resumed(folder)
    _check_export(folder)
    _check_generation(folder / "out", plain)
    _check_switching(config, plain, folder)
    proof = model_proof.prove(generate.load(folder / "out", "cpu", "sdpa", None, _silent)[0])
    return Examined(model_type, packing=proof.isolation is None, window=_window(folder))


def _silent(_: str) -> None:
    """Say nothing."""


def _refused_by_its_configuration(model_type: str, folder: Path) -> str | None:
    """The reason if the default configuration, whose model is too large to be built here, is refused."""
    try:
        config = tiny_architectures.default(model_type)
        huggingface.attach(copy.deepcopy(config))
    except StrictDataclassError:
        return None  # the defaults contradict each other
    except ValueError:
        return _refusal_of_configuration(model_type, folder)
    return None


def _refusal_of_configuration(model_type: str, folder: Path) -> str | None:
    try:
        config = tiny_architectures.tiny(model_type)
    except (StrictDataclassError, ValueError):
        config = tiny_architectures.default(model_type)
    config.save_pretrained(folder / "config")
    try:
        _train(folder / "config", folder / "refused", from_scratch=True)
    except UserError as error:
        return _reason(error, config.model_type)
    return None


def _reason(error: UserError, model_type: str) -> str:
    """The part of a refusal that differs between model types.

    Raises:
        FaultError: it names no way out.
    """
    text = str(error)
    if trial.CHOOSE not in text or "fails in the code of transformers" in text:
        raise FaultError(text) from error
    start = f"A model of the type {model_type} cannot be used here: "
    text = " ".join(text.replace(trial.CHOOSE, "").split()).removeprefix(start).removesuffix(".")
    text = re.sub(r"\ba \S+ model with (\S+ = \S+) ", r"with \1 it ", text)
    return re.sub(r"\ba \S+ model\b", "it", text)


def _save_plain(config: Any, folder: Path) -> Any:
    """A model of plain transformers with random weights, saved as transformers saves it."""
    plain = CausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)  # or attention has hardly any influence on the logits
    plain.save_pretrained(folder)
    ByteTokenizer().save(folder)
    return plain


def _train(model: Path, output: Path, *, from_scratch: bool = False, resume: bool = False) -> None:
    text = model.parent / "text.txt"
    text.write_text(TEXT, encoding="utf-8", newline="\n")
    settings = {
        "model": {"name": str(model), "tokenizer": "byte", "from_scratch": from_scratch},
        "data": {"dataset_file": str(text), "max_length": 32, "eval_fraction": 0},
        "training": {
            "steps": 3,
            "batch_size": 2,
            "learning_rate": 1e-3,
            "checkpoint_every": 2,
            "device": "cpu",
        },
        "output": {"output_dir": str(output)},
    }
    run(TrainConfig.model_validate(settings), Options(resume=resume), Reporter(quiet=True))


def _check_resumed(folder: Path) -> None:
    """Check that a run that is resumed after step 2 has the losses and weights of the run that was not interrupted."""
    again = folder / "resumed"
    shutil.copytree(folder / "out" / "checkpoints" / "step-00000002", again / "checkpoints" / "step-00000002")
    _train(folder / "model", again, resume=True)
    if _losses(again) != _losses(folder / "out")[2:]:
        raise FaultError(f"resumed: losses {_losses(again)}, expected {_losses(folder / 'out')[2:]}")
    found, expected = (
        load_file(each / "checkpoints/step-00000003/model.safetensors") for each in (again, folder / "out")
    )
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    if different:
        raise FaultError(f"resumed: other weights than without the interruption: {', '.join(different[:3])}")


def _losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, lines) if record["event"] == "train"]


def _check_export(folder: Path) -> None:
    """Check that plain transformers computes with the exported model what we compute."""
    export.export(folder / "out", folder / "exported", merge=False, dtype=torch.float32, say=_silent)
    plain, ours = _plain(folder / "exported"), generate.load(folder / "out", "cpu", "sdpa", None, _silent)[0]
    tokens = torch.randint(0, 255, (2, 48), generator=torch.Generator().manual_seed(1))
    expected, found = _logits(plain, tokens), _logits(ours, tokens)
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference < TOLERANCE:
        raise FaultError(f"exported: logits of plain transformers differ by {difference:.1e} of the largest")


def _plain(folder: Path) -> Any:
    return CausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def _logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


def _check_generation(saved: Path, plain: Any | None = None) -> None:
    """Check that sampling with the cache gives the tokens that plain transformers finds without one."""
    ours = generate.load(saved, "cpu", "sdpa", None, _silent)[0]
    plain = _plain(saved if (saved / "config.json").exists() else saved / "checkpoints" / "step-00000003")
    expected = [*_greedy(plain)]
    for prefill in (512, 4):
        found = [
            *sample(ours, PROMPT, Sampling(NEW, temperature=0), -1, tiny_architectures.VOCABULARY, prefill)
        ]
        if found != expected:
            raise FaultError(f"sampled with the cache: {found}, without it: {expected}")


def _greedy(model: Any) -> Iterator[int]:
    tokens = [*PROMPT]
    for _ in range(NEW):
        token = int(_logits(model, torch.tensor([tokens]))[0, -1].argmax())
        tokens.append(token)
        yield token


def _check_switching(config: Any, plain: Any, folder: Path) -> None:
    """Check sampling with rotary positions that switch to other frequencies in the middle of the new text."""
    rotated = [buffer.numel() for name, buffer in plain.named_buffers() if name.endswith("inv_freq")]
    if len({*rotated}) != 1 or (changed := tiny_architectures.switching(config, rotated[0])) is None:
        return
    try:
        _save_plain(changed, folder / "switching")
    except (KeyError, ValueError, TypeError, AttributeError, StrictDataclassError):
        return  # this type has no such positions
    _check_generation(folder / "switching")


def _window(folder: Path) -> bool:
    """Whether the model can be trained with a window: `attach` proves it."""
    try:
        huggingface.attach(_plain(folder / "exported"), backend="sdpa", window=4)
    except ValueError:
        return False
    return True
