"""`aios export`. torch is imported only when the command runs, so `--help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.output import echo

export = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@export.command()
def run_export(
    checkpoint: Annotated[
        Path, typer.Option(help="Output folder of a training run, one of its checkpoints, or a model folder.")
    ],
    output: Annotated[Path, typer.Option(help="New folder for the result.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge a LoRA adapter into its base model.")] = False,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Data type of the model's weights.")
    ] = "float32",
) -> None:
    """Export a trained model for transformers, or a LoRA adapter for peft."""
    with report_errors():
        import torch

        from trainer import export as exporting
        from trainer.records.progress import Reporter

        say = Reporter().say
        exporting.export(checkpoint, output, merge=merge, dtype=getattr(torch, dtype), say=say)
    echo(f"Exported to {output}")
