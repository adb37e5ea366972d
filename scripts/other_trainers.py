"""Hugging Face's Trainer and TRL's SFTTrainer, as programs that `bench_training.py` compares with ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

AfterStep = Callable[[float], None]  # is called with the loss of each step


def hf_trainer(model: Any, data: Tensor, settings: dict[str, Any], after_step: AfterStep) -> None:
    """Train a model with Hugging Face's Trainer.

    Args:
        data: (steps, B, S) tokens; one step takes B sequences, in order.
        settings: further arguments of TrainingArguments.
    """
    from transformers import Trainer, TrainingArguments

    tokens, labels = data.flatten(0, 1), _labels(data)
    samples = [{"input_ids": row, "labels": its} for row, its in zip(tokens, labels, strict=True)]
    _train(Trainer, TrainingArguments, model, samples, data, settings, after_step)


def sft_trainer(model: Any, data: Tensor, settings: dict[str, Any], after_step: AfterStep) -> None:
    """Train a model with TRL's SFTTrainer, like `hf_trainer`. TRL is not installed with this project."""
    from datasets import Dataset  # type: ignore[import-not-found]
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    rows = {"input_ids": data.flatten(0, 1).tolist(), "labels": _labels(data).tolist()}
    others = {"processing_class": _tokenizer()}
    prepared = {"dataset_kwargs": {"skip_prepare_dataset": True}, **settings}
    _train(SFTTrainer, SFTConfig, model, Dataset.from_dict(rows), data, prepared, after_step, **others)


def packed_sft_trainer(
    model: Any,
    conversations: list[tuple[list[int], list[int]]],
    shape: tuple[int, int, int],
    settings: dict[str, Any],
    after_step: AfterStep,
) -> list[int]:
    """Train a model with TRL's SFTTrainer on conversations that it packs itself. Returns the tokens of each packed row.

    Args:
        conversations: tokens and labels of each.
        shape: number of steps, rows in a batch, tokens in a row.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    steps, size, length = shape
    tokens, labels = ([each[part] for each in conversations] for part in (0, 1))
    packing = {"packing": True, "max_length": length, "dataset_num_proc": 1}
    trainer = _trained(
        SFTTrainer,
        SFTConfig,
        model,
        Dataset.from_dict({"input_ids": tokens, "labels": labels}),
        (steps, size),
        {**packing, **settings},
        after_step,
        processing_class=_tokenizer(),
    )
    return [sum(lengths) for lengths in trainer.train_dataset["seq_lengths"]]


def _labels(data: Tensor) -> Tensor:
    """The labels of all sequences (steps * B, S). The trainers shift them, but count the first one without -100 as a target."""
    return F.pad(data.flatten(0, 1)[:, 1:], (1, 0), value=-100)


def _train(
    trainer_class: Any,
    arguments_class: Any,
    model: Any,
    samples: Any,
    data: Tensor,
    settings: dict[str, Any],
    after_step: AfterStep,
    **others: Any,
) -> None:
    shape = (len(data), data.shape[1])
    _trained(trainer_class, arguments_class, model, samples, shape, settings, after_step, **others)


def _trained(
    trainer_class: Any,
    arguments_class: Any,
    model: Any,
    samples: Any,
    shape: tuple[int, int],
    settings: dict[str, Any],
    after_step: AfterStep,
    **others: Any,
) -> Any:
    """Train, and return the trainer. `shape`: number of steps, sequences in a batch."""
    from transformers import PrinterCallback, TrainerCallback

    class ReportLoss(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if "loss" in others["logs"]:
                after_step(float(others["logs"]["loss"]))

    class InOrder(trainer_class):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    with tempfile.TemporaryDirectory() as folder:
        arguments = arguments_class(
            output_dir=folder,
            per_device_train_batch_size=shape[1],
            max_steps=shape[0],
            lr_scheduler_type="constant",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **settings,
        )
        trainer = InOrder(model, arguments, train_dataset=samples, callbacks=[ReportLoss()], **others)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer


def _tokenizer() -> Any:
    """A tokenizer that only pads: SFTTrainer requires one, although the samples are tokens already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<end>": 0}, unk_token="<end>"))
    make: Any = PreTrainedTokenizerFast  # it has no type annotations
    return make(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
