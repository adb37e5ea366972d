"""`aios export`. torch is imported only when the command runs, so `--help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.output import echo
from trainer.commands.required_packages import require_training_packages
from trainer.early_checks import check_model_folder
from trainer.errors import UserError

export = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@export.command()
def run_export(
    checkpoint: Annotated[
        Path, typer.Option(help="Output folder of a training run, one of its checkpoints, or a model folder.")
    ],
    output: Annotated[Path, typer.Option(help="New folder for the result; a new file with --gguf.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge a LoRA adapter into its base model.")] = False,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Data type of the model's weights.")
    ] = "float32",
    gguf: Annotated[
        bool,
        typer.Option(
            "--gguf",
            help="Write one GGUF file for llama.cpp, LM Studio or Ollama, with tokenizer and chat template. A LoRA adapter is "
            "merged.",
        ),
    ] = False,
    gguf_type: Annotated[
        Literal["f16", "bf16", "q8_0"],
        typer.Option(help="Data type of the matrices in a GGUF file; q8_0 takes 8.5 bits per weight."),
    ] = "f16",
) -> None:
    """Export a trained model for transformers, llama.cpp or, as an adapter, for peft."""
    with report_errors():
        check_model_folder(checkpoint, "--checkpoint")
        require_training_packages()
        from trainer.records.progress import Reporter

        say = Reporter().say
        if gguf:
            from trainer.gguf_file import writing

            if dtype != "float32":
                raise UserError("--dtype is for folders. With --gguf, use --gguf-type.")
            writing.export(checkpoint, output, gguf_type, say)
        else:
            import torch

            from trainer import export as exporting

            exporting.export(checkpoint, output, merge=merge, dtype=getattr(torch, dtype), say=say)
    echo(f"Exported to {output}")
