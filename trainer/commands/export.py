"""`aios export`. torch is imported when it begins, so `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer.commands.explanation import report_errors

export = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@export.command()
def run_export(
    checkpoint: Annotated[
        Path, typer.Option(help="Output folder of a training run, one of its checkpoints, or a model folder.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to be made.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Make one model of a LoRA adapter and its base.")
    ] = False,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Type of a model's weights.")
    ] = "float32",
) -> None:
    """Write a model as transformers' save_pretrained does, or a LoRA adapter as peft does."""
    with report_errors():
        import torch

        from trainer import export as exporting
        from trainer.records.progress import Reporter

        say = Reporter().say
        exporting.export(checkpoint, output, merge=merge, dtype=getattr(torch, dtype), say=say)
    typer.echo(f"Written: {output}")
