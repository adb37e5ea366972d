"""The configuration of a training run, in sections. Keys are unique over all sections.

A key's `Field` is its only definition: type, range, default, and the description, which is also the help text of the
command-line option that `trainer.commands.options` generates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

from doctor.bounded import parse_json
from trainer.attention.pattern import repeat
from trainer.config.lora_keys import LoraKeys
from trainer.config.preference_keys import LossKeys
from trainer.config.section import Section

Backend = Literal["auto", "flash_attn_2", "flash_attn_4", "hub_kernels", "xformers", "sdpa", "manual"]
Schedule = Literal["cosine", "linear", "wsd", "constant"]
OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "muon"]
Sharding = Literal["none", "full", "hybrid"]
DataFormat = Literal[
    "auto", "text", "messages", "sharegpt", "alpaca", "prompt-completion", "segments", "preference"
]
TrainOn = Literal["answers", "all"]


def _numbers(value: Any) -> Any:
    """Parse a list of numbers from the command line, such as 512,512,0. Other values are returned unchanged."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", value):
        return [int(number) for number in value.split(",")]
    return [value] if isinstance(value, int) else value


def _pattern(value: Any) -> Any:
    value = _numbers(value)
    if isinstance(value, list) and not all(isinstance(size, int) for size in value):
        raise ValueError("the windows in a pattern must be whole numbers, 0 for none")
    if isinstance(value, (str, list)):
        repeat(1, None, value)  # raises for a pattern that is wrong for any model
    return value


LayerNumbers = Annotated[tuple[int, ...] | None, BeforeValidator(_numbers)]
WindowPattern = Annotated[str | tuple[int, ...] | None, BeforeValidator(_pattern)]
InlineMapping = Annotated[
    dict[str, Any] | None,
    BeforeValidator(lambda value: parse_json(value) if isinstance(value, str) else value),
]


class ModelSection(LoraKeys):
    name: str | None = Field(
        default=None,
        description="Model to continue training: a local folder, or a Hugging Face id whose files are in the local "
        "cache.",
    )
    from_scratch: bool = Field(
        default=False,
        description="Start the model in name with new, random weights: only its configuration and tokenizer are used.",
    )
    architecture: InlineMapping = Field(
        default=None,
        description="Model to train from scratch, instead of name: a Hugging Face configuration with a model_type (JSON "
        "on the command line).",
    )
    tokenizer: str | None = Field(
        default=None,
        description="Tokenizer: byte, a local folder, or a Hugging Face id. Default: the model's own.",
    )
    resize_token_embeddings: bool = Field(
        default=False,
        description="If the tokenizer has more tokens than the model, add rows to the embedding and the output layer. They "
        "are trained with the model.",
    )
    attention_backend: Backend = Field(
        default="auto",
        description="Attention backend: auto, flash_attn_2, flash_attn_4, hub_kernels, xformers, sdpa or manual. auto picks "
        "the fastest one proven on this machine.",
    )
    use_flash_attention: bool | None = Field(
        default=None,
        description="Shorthand for attention_backend: true means flash_attn_2, false means sdpa.",
    )
    window_size: Annotated[int, Field(ge=0)] | Literal["auto"] | None = Field(
        default=None,
        description="Sliding window: number of tokens that each token attends to, including itself; 0 for all previous "
        "tokens; auto for the usual window for max_length, if sequences of this length usually have one. Default: the window "
        "the model was trained with.",
    )
    window_pattern: WindowPattern = Field(
        default=None,
        description="Layers with the window, as a repeated pattern: SSSL is three layers with it and one without. Or the "
        "window of each layer: 512,512,0. Default: all layers.",
    )
    full_layers: LayerNumbers = Field(
        default=None,
        description="Layers without a window, regardless of the pattern: 0 is the first, -1 the last.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass instead of storing them: less memory, but slower.",
    )

    @property
    def window(self) -> int | None:
        """window_size, after `recommended.resolve` has replaced auto."""
        assert self.window_size != "auto"
        return self.window_size


class DataSection(Section):
    dataset_file: Path | None = Field(
        default=None,
        description="Training text: a text, JSON, CSV or Parquet file, compressed or not, or a folder of such files. In text files, a "
        "line <|endoftext|> separates documents.",
    )
    text_field: str | None = Field(
        default=None,
        description="Field or column with the text. Default: the first of text, content, body, document, article and "
        "passage that exists, or the only field.",
    )
    data_format: DataFormat = Field(
        default="auto",
        alias="format",
        description="Form of the records: messages, sharegpt, alpaca, prompt-completion, segments, preference or text. auto "
        "recognizes each record by its fields.",
    )
    train_on: TrainOn = Field(
        default="answers",
        description="What is learned from conversations: only the answers, or all of their text. Other text is always "
        "learned.",
    )
    chat_template: str | None = Field(
        default=None,
        description="How conversations are written: chatml, alpaca, vicuna, plain, or a Jinja file. Default: the tokenizer's "
        "own template; chatml if it has none.",
    )
    max_length: int = Field(
        default=1024, ge=1, description="Number of tokens in a sequence. One sequence is one sample."
    )
    packing: bool = Field(
        default=True,
        description="Pack several documents into a sequence, without attention between them. Otherwise each document "
        "starts a new sequence, padded at its end.",
    )
    add_bos_token: bool | None = Field(
        default=None,
        description="Put the tokenizer's beginning-of-text token before every document and prompt. Default: what the "
        "tokenizer itself does.",
    )
    eval_file: Path | None = Field(
        default=None, description="Text to evaluate on, instead of the end of the data set."
    )
    eval_fraction: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Fraction of the text, at its end, to hold out for evaluation; 0 for none.",
    )
    dataset_chunk_size: int = Field(
        default=4000,
        ge=1,
        description="Number of consecutive samples to load and shuffle at a time. Not --chunk-size, the "
        "number of tokens in a chunk of a sequence.",
    )
    linear_dataset: bool = Field(
        default=False,
        description="Read samples in the order of the files, without shuffling.",
    )
    dataset_start_offset: int = Field(
        default=0, ge=0, description="Number of samples to skip at the start of the data set."
    )
    iterate: bool = Field(
        default=False,
        description="Continue after the last step, at the final learning rate, until stopped.",
    )
    stop_after_epoch: bool = Field(
        default=False,
        description="Stop when every sample of an epoch has been read, even before the last step.",
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Folder for cached tokens. Default: the user's cache folder, for data sets of more than 4 MB.",
    )


class TrainingSection(LossKeys):
    steps: int = Field(default=1000, ge=1, description="Total number of optimizer steps.")
    epochs: int | None = Field(
        default=None, ge=1, description="Number of passes over the data set, instead of a number of steps."
    )
    batch_size: int = Field(default=8, ge=1, description="Number of sequences in a forward pass.")
    gradient_accumulation_steps: int = Field(
        default=1, ge=1, description="Number of forward passes in an optimizer step."
    )
    learning_rate: float = Field(default=3e-4, gt=0, alias="lr", description="Peak learning rate.")
    warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Number of steps over which the learning rate rises linearly to its peak.",
    )
    schedule: Schedule = Field(
        default="cosine",
        description="Decay of the learning rate after warm-up: cosine, linear, wsd (only in the last steps) or constant "
        "(none).",
    )
    final_lr_fraction: float = Field(
        default=0.1, ge=0, le=1, description="Learning rate of the last step, as a fraction of the peak."
    )
    decay_fraction: float = Field(
        default=0.2, gt=0, le=1, description="Fraction of the steps after warm-up during which wsd decays."
    )
    optimizer: OptimizerName = Field(
        default="adamw",
        description="Optimizer: adamw; or, for the matrices inside the model, muon (requires torch 2.9), adamw_8bit, or "
        "paged_adamw_8bit, whose state moves to host memory when a GPU is full (both require bitsandbytes).",
    )
    adam_beta1: float = Field(
        default=0.9, ge=0, lt=1, description="Decay rate of Adam's running mean of gradients."
    )
    adam_beta2: float = Field(
        default=0.95, ge=0, lt=1, description="Decay rate of Adam's running mean of squared gradients."
    )
    adam_epsilon: float = Field(
        default=1e-8, gt=0, description="Added to Adam's denominator for numerical stability."
    )
    weight_decay: float = Field(
        default=0.1, ge=0, description="Decoupled weight decay of matrices. Vectors have none."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="Maximum norm of the gradient, for gradient clipping."
    )
    amp: bool | Literal["auto"] = Field(
        default="auto",
        description="Automatic mixed precision: bfloat16 if the device supports it, else float16 with a gradient scaler. "
        "auto: on a GPU.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the blocks of the model with torch.compile after a few steps, and record what it gained. Requires a "
        "C compiler, and Triton on a GPU.",
    )
    seed: int = Field(
        default=1234, ge=0, description="Random seed for initial weights, data order and dropout."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device to train on: auto, cpu, cuda or cuda:N.",
    )
    sharding: Sharding = Field(
        default="none",
        description="With several processes: each holds the whole model (none), or a shard of weights, gradients and "
        "optimizer state (full), for models that do not fit on one GPU. hybrid shards within each machine, and copies to the "
        "others.",
    )
    reduce_every_batch: bool = Field(
        default=False,
        description="With sharding and gradient_accumulation_steps: reduce gradients to shards after every batch, not after the "
        "last one of a step: less memory, more communication.",
    )
    hang_timeout: float = Field(
        default=300.0,
        ge=0,
        description="With several processes: seconds without progress in a step after which the run ends and names the process "
        "that did not arrive; 0 for 30 minutes.",
    )
    stop_file: Path | None = Field(
        default=None,
        description="If this file appears, finish the current step, save a checkpoint, delete the file and stop.",
    )
    log_every: int = Field(default=1, ge=1, description="Number of steps between train records.")
    eval_every: int = Field(
        default=500, ge=0, description="Number of steps between evaluations; 0 to evaluate only at the end."
    )
    early_stop_patience: int = Field(
        default=0,
        ge=0,
        description="Stop after this many evaluations in a row without a lower held-out loss; 0 to train to the end. The best "
        "checkpoint is kept.",
    )
    eval_batches: int = Field(default=50, ge=1, description="Maximum number of batches in an evaluation.")
    sample_prompt: str | None = Field(
        default=None,
        description="Prompt for a sample of generated text after each evaluation.",
    )
    sample_tokens: int = Field(default=100, ge=1, description="Maximum number of tokens in a sample.")
    checkpoint_every: int = Field(
        default=500, ge=0, description="Number of steps between checkpoints; 0 to save only at the end."
    )
    async_checkpoints: bool = Field(
        default=False,
        description="With sharding: copy the shards to the host's memory, and write checkpoints while training continues.",
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Number of checkpoints to keep; older ones are deleted."
    )


class OutputSection(Section):
    output_dir: Path = Field(
        default=Path("artifacts/train"), description="Folder for checkpoints and records."
    )
    log_file: Path | None = Field(
        default=None, description="File for records. Default: metrics.jsonl in output_dir."
    )
    tensorboard: bool = Field(
        default=False, description="Also write TensorBoard event files, to tensorboard/ next to the log file."
    )


class TrainConfig(Section):
    """A whole configuration."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    output: OutputSection = OutputSection()

    @property
    def requested_backend(self) -> str:
        """The attention backend that attention_backend and use_flash_attention ask for together."""
        if self.model.use_flash_attention is None:
            return self.model.attention_backend
        return "flash_attn_2" if self.model.use_flash_attention else "sdpa"

    @property
    def log_file(self) -> Path:
        return self.output.log_file or self.output.output_dir / "metrics.jsonl"


def each_key() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every key of the configuration: (section, key, field). Those that a section inherits come last."""
    for section, field in TrainConfig.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type) and issubclass(kind, Section)
        own = kind.__annotations__
        for key in sorted(kind.model_fields, key=lambda key: key not in own):
            yield section, key, kind.model_fields[key]
