"""The configuration of a training run: one section per concern, every key unique over all sections.

A key's `Field` is its only definition: type, range, default and, by its description, the help of the
command-line option that `trainer.commands.options` makes of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from trainer.attention.pattern import repeat

Backend = Literal["auto", "flash_attn_2", "xformers", "sdpa", "manual"]
Schedule = Literal["cosine", "linear", "wsd", "constant"]
OptimizerName = Literal["adamw", "adamw_8bit", "muon"]
Sharding = Literal["none", "full"]


def _numbers(value: Any) -> Any:
    """A list of numbers from how one writes it on the command line: 512,512,0. Anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*(,\s*-?\d+\s*)*", value):
        return [int(number) for number in value.split(",")]
    return [value] if isinstance(value, int) else value


def _pattern(value: Any) -> Any:
    value = _numbers(value)
    if isinstance(value, list) and not all(isinstance(size, int) for size in value):
        raise ValueError("the windows in a pattern are whole numbers, 0 for none")
    if isinstance(value, (str, list)):
        repeat(1, None, value)  # complains of what no model could have
    return value


def _names(value: Any) -> Any:
    """A list of names from how one writes it on the command line: q_proj,v_proj. Anything else as it is."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_names)]
LayerNumbers = Annotated[tuple[int, ...] | None, BeforeValidator(_numbers)]
WindowPattern = Annotated[str | tuple[int, ...] | None, BeforeValidator(_pattern)]
InlineMapping = Annotated[
    dict[str, Any] | None,
    BeforeValidator(lambda value: json.loads(value) if isinstance(value, str) else value),
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ModelSection(Section):
    name: str | None = Field(
        default=None,
        description="Model to continue training: a local folder, or a Hugging Face id whose files are in the cache. "
        "A folder that holds a config.json and no weights is trained from scratch.",
    )
    architecture: InlineMapping = Field(
        default=None,
        description="Model to train from scratch: a Hugging Face configuration, of which model_type is the first key "
        "(JSON on the command line). Instead of name.",
    )
    tokenizer: str | None = Field(
        default=None,
        description="byte, a local folder, or a Hugging Face id. Default: the one that lies beside the model.",
    )
    attention_backend: Backend = Field(
        default="auto",
        description="auto, flash_attn_2, xformers, sdpa or manual; auto is the fastest that this machine can run.",
    )
    use_flash_attention: bool | None = Field(
        default=None, description="Short for attention_backend: true is flash_attn_2, false is sdpa."
    )
    window_size: int | None = Field(
        default=None,
        ge=0,
        description="Tokens that a token sees, itself among them; 0 for all before it. Default: what the model was "
        "trained with.",
    )
    window_pattern: WindowPattern = Field(
        default=None,
        description="Layers that the window is in: SSSL for three with it and one without, again and again; or the "
        "window of each layer in turn: 512,512,0. Default: all.",
    )
    full_layers: LayerNumbers = Field(
        default=None,
        description="Layers without a window, whatever the pattern says: 0 is the first, -1 the last.",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations again in the backward pass rather than keep them: less memory, more time.",
    )
    use_peft: bool = Field(
        default=False,
        description="LoRA: freeze the model, and train small matrices beside its own; checkpoints hold only these.",
    )
    lora_r: int = Field(default=16, ge=1, description="Rank of these matrices.")
    lora_alpha: int = Field(
        default=32, ge=1, description="What they add counts this often, divided by their rank."
    )
    lora_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of what they read that is dropped in training."
    )
    lora_target_modules: Names = Field(
        default=None,
        description="Layers that get them, by the ends of their names: q_proj,v_proj. Default: all linear ones but the "
        "output layer.",
    )


class DataSection(Section):
    dataset_file: Path | None = Field(
        default=None,
        description="Text to train on: a file of text, JSON lines, CSV or Parquet, or a folder of them. In text, a line "
        "that reads <|endoftext|> ends a document.",
    )
    text_field: str | None = Field(
        default=None,
        description="Field or column that holds the text. Default: text, content, body, document, article or passage, "
        "or the only one there is.",
    )
    max_length: int = Field(default=1024, ge=1, description="Tokens in a sequence, which is one sample.")
    packing: bool = Field(
        default=True,
        description="Let documents share sequences, unseen by each other. Without, each begins one, padded at its end.",
    )
    eval_file: Path | None = Field(
        default=None, description="Text to evaluate on, in place of the end of the data set."
    )
    eval_fraction: float = Field(
        default=0.05,
        ge=0,
        le=0.5,
        description="Share of the text, at its end, that is held out for evaluation; 0 for none.",
    )
    dataset_chunk_size: int = Field(
        default=4000,
        ge=1,
        description="Samples in memory at a time: consecutive ones, shuffled among each other. Not --chunk-size, which "
        "is tokens of one sequence.",
    )
    linear_dataset: bool = Field(
        default=False,
        description="Read samples as they lie in the files, not in an order drawn for each epoch.",
    )
    dataset_start_offset: int = Field(default=0, ge=0, description="Samples to pass over at the beginning.")
    iterate: bool = Field(
        default=False,
        description="Go on after the last step, chunk by chunk and epoch by epoch, at the last learning rate, until "
        "stopped.",
    )
    stop_after_epoch: bool = Field(
        default=False,
        description="Stop when every sample of an epoch has been read, if that is before the last step.",
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Folder to keep tokens in, so that they are made once. Default: this user's cache folder, for more "
        "than 4 MB of text.",
    )


class TrainingSection(Section):
    steps: int = Field(default=1000, ge=1, description="Optimizer steps, in all.")
    batch_size: int = Field(default=8, ge=1, description="Sequences in one forward pass.")
    gradient_accumulation_steps: int = Field(default=1, ge=1, description="Forward passes in one step.")
    learning_rate: float = Field(default=3e-4, gt=0, alias="lr", description="Highest learning rate.")
    warmup_steps: int = Field(
        default=0, ge=0, description="Steps over which the learning rate rises to its highest."
    )
    schedule: Schedule = Field(
        default="cosine",
        description="How the learning rate falls after that: cosine, linear, wsd (not before the last steps), or "
        "constant (not at all).",
    )
    final_lr_fraction: float = Field(
        default=0.1, ge=0, le=1, description="Where it ends, as a fraction of the highest."
    )
    decay_fraction: float = Field(
        default=0.2, gt=0, le=1, description="Share of the steps after warm-up in which wsd lets it fall."
    )
    optimizer: OptimizerName = Field(
        default="adamw",
        description="adamw; or, for the matrices inside the model, muon (torch 2.9) or adamw_8bit (bitsandbytes).",
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="How slowly Adam forgets gradients.")
    adam_beta2: float = Field(default=0.95, ge=0, lt=1, description="How slowly it forgets their squares.")
    adam_epsilon: float = Field(default=1e-8, gt=0, description="What it adds to a denominator.")
    weight_decay: float = Field(
        default=0.1, ge=0, description="Decoupled weight decay of matrices; vectors have none."
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="The gradient's norm is clipped to this.")
    amp: bool = Field(
        default=False,
        description="Automatic mixed precision: bfloat16 where the device has it, else float16 with a gradient scaler.",
    )
    seed: int = Field(default=1234, ge=0, description="Seed of initial weights, order of data and dropout.")
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N."
    )
    sharding: Sharding = Field(
        default="none",
        description="What several processes keep of weights, gradients and optimizer: each of them all (none), or each "
        "its share (full), for models that one GPU does not hold.",
    )
    stop_file: Path | None = Field(
        default=None,
        description="Stop after the step in hand, with a checkpoint, when there is a file of this name; it is deleted then.",
    )
    log_every: int = Field(default=1, ge=1, description="Steps between two train records.")
    eval_every: int = Field(
        default=500, ge=0, description="Steps between two evaluations; 0 for none but the one at the end."
    )
    eval_batches: int = Field(default=50, ge=1, description="Batches in an evaluation, at most.")
    sample_prompt: str | None = Field(
        default=None,
        description="Text to go on from after each evaluation, to see what the model has learned.",
    )
    sample_tokens: int = Field(default=100, ge=1, description="Tokens of such a sample, at most.")
    checkpoint_every: int = Field(
        default=500, ge=0, description="Steps between two checkpoints; 0 for none but the one at the end."
    )
    keep_checkpoints: int = Field(default=2, ge=1, description="Newest checkpoints that are kept.")


class OutputSection(Section):
    output_dir: Path = Field(
        default=Path("artifacts/train"), description="Folder for checkpoints and records."
    )
    log_file: Path | None = Field(
        default=None, description="Where to write records. Default: metrics.jsonl in output_dir."
    )
    tensorboard: bool = Field(
        default=False, description="Write the records for TensorBoard, too, into tensorboard/ beside the log."
    )


class TrainConfig(Section):
    """A whole configuration."""

    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    output: OutputSection = OutputSection()

    @property
    def requested_backend(self) -> str:
        """The attention backend that the two keys ask for together."""
        if self.model.use_flash_attention is None:
            return self.model.attention_backend
        return "flash_attn_2" if self.model.use_flash_attention else "sdpa"

    @property
    def log_file(self) -> Path:
        return self.output.log_file or self.output.output_dir / "metrics.jsonl"


def each_key() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every key of the configuration: (section, key, field)."""
    for section, field in TrainConfig.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for key, leaf in field.annotation.model_fields.items():
            yield section, key, leaf
