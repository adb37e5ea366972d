"""`aios data`: what a run would read and learn, and tokenizing it before the run. torch is imported only when the command runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.options import with_config_options, with_model
from trainer.commands.output import echo
from trainer.commands.required_packages import require_training_packages
from trainer.config import load as load_config

if TYPE_CHECKING:
    from trainer.data.pairs import PairRows
    from trainer.data.preview import Example, Preview

BEGIN, END = "»", "«"  # around learned text; both are in cp1252

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def data() -> None:
    """Data for training."""


@app.command("preview")
def run_preview(
    file: Annotated[Path, typer.Argument(help="File or folder, as in data.dataset_file.")],
    name: Annotated[
        str | None,
        typer.Option(
            help="Model whose tokenizer is used: a local folder, or a Hugging Face id in the cache."
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Tokenizer: byte, a local folder, or a Hugging Face id. [default: the model's, or byte]"
        ),
    ] = None,
    data_format: Annotated[
        str,
        typer.Option(
            help="Form of the records: auto, messages, sharegpt, alpaca, prompt-completion, segments, preference or text."
        ),
    ] = "auto",
    text_field: Annotated[str | None, typer.Option(help="Field or column with the text.")] = None,
    train_on: Annotated[
        str, typer.Option(help="What is learned from conversations: answers or all.")
    ] = "answers",
    chat_template: Annotated[
        str | None,
        typer.Option(help="chatml, alpaca, vicuna, plain, or a Jinja file. [default: the tokenizer's own]"),
    ] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Number of tokens in a sequence.")] = 1024,
    packing: Annotated[bool, typer.Option(help="Pack several documents into a sequence.")] = True,
    examples: Annotated[int, typer.Option(min=0, help="Number of documents to show.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a run reads and learns.

    The form of the records, their tokens, what is learned, lengths, and what is dropped and why.
    """
    with report_errors():
        from trainer.config.reading import load_data
        from trainer.data.preview import preview
        from trainer.models import hub
        from trainer.models.tokenizer import load

        settings = load_data(
            {
                "data_format": data_format,
                "text_field": text_field,
                "train_on": train_on,
                "chat_template": chat_template,
                "max_length": max_length,
                "packing": packing,
            }
        )
        folder = hub.local_copy(name, "--name") if name else None
        chosen = load(tokenizer or (None if folder else "byte"), folder)
        found = preview(file, settings, chosen, examples, lambda message: None)
        if as_json:
            echo(json.dumps(found.to_json(), ensure_ascii=True))
            return
        for line in _lines(found):
            echo(line)
        if not name and not tokenizer:
            echo(
                "Tokens are bytes: name the model with --name to count its tokens and use its chat template."
            )
        for number, example in enumerate(found.examples, 1):
            _show(example, number)


@app.command("prepare", context_settings={"token_normalize_func": with_model})
@with_config_options
def run_prepare(
    overrides: dict[str, Any],
    config: Annotated[
        Path | None, typer.Option(help="YAML configuration file of the run.", metavar="FILE")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Number of processes that tokenize, each a file at a time.")
    ] = 1,
) -> None:
    """Tokenize the data set of a run before it starts.

    Takes the configuration and options of `aios train`, which then finds the tokens in the cache. Memory is bounded by the
    number of processes, not by the data.
    """
    with report_errors():
        settings = load_config(config, overrides)
        require_training_packages()
        from trainer.data.dataset import cache_folder, load
        from trainer.models import hub, tokenizer
        from trainer.records.progress import Reporter

        name = settings.model.name
        folder = hub.local_copy(name, "model.name (--name)") if name else None
        text = tokenizer.load(settings.model.tokenizer, folder, settings.data.add_bos_token)
        found = load(settings.data, text, Reporter().say, processes)
        source, where = found.training.source, settings.data.cache_dir or cache_folder()
        if source.largest is None:
            echo(f"{len(source.tokens):,} tokens. The data set is small: runs tokenize it when they start.")
        else:
            echo(f"{len(source.tokens):,} tokens in {found.training.blocks:,} training sequences, in {where}")


def _lines(found: Preview) -> list[str]:
    from trainer.data.description import of_dropped, of_records, shapes

    lines = [f"Form: {shapes(found.tally) or 'text'}"]
    if found.template:
        lines.append(f"Chat template: {found.template}")
    notes = [line for line in of_records(found.tally) if line.startswith("WARNING") and "dropped" not in line]
    lines += [*notes, *([of_dropped(found.tally)] if found.tally.dropped else [])]
    share = found.learned / max(found.tokens, 1)
    lines.append(
        f"Documents: {found.documents:,}, tokens: {found.tokens:,}, learned: {found.learned:,} ({share:.0%})"
    )
    shortest, median, high, longest = found.lengths
    lines.append(
        f"Tokens of a document: {shortest:,} to {longest:,}, median {median:,}, 95% at most {high:,}"
    )
    if found.pairs:
        return [*lines, *_of_pairs(found, found.pairs)]
    lines.append(f"Sequences of {found.max_length:,} tokens: {found.sequences:,}, {found.filled:.0%} filled")
    if found.cut:
        lines.append(
            f"Longer than a sequence: {found.cut:,} conversations, cut at its end: {found.lost:,} tokens of answers are not "
            "learned. A larger --max-length learns them."
        )
    return lines


def _of_pairs(found: Preview, pairs: PairRows) -> list[str]:
    lines = [f"Pairs: {pairs.count:,}, each of two sequences of at most {found.max_length:,} tokens"]
    if pairs.cut:
        lines.append(
            f"Longer than a sequence: an answer in {pairs.cut:,} pairs, cut at its end. A larger --max-length learns all of it."
        )
    if pairs.lost:
        lines.append(
            f"Left out: {pairs.lost:,} pairs whose prompt alone fills a sequence. A larger --max-length learns them."
        )
    return lines


def _show(example: Example, number: int) -> None:
    """Print a document, with marks around what is learned."""
    learned = sum(example.learned)
    beginning = (
        f", of which {len(example.tokens):,} are shown" if len(example.tokens) < example.length else ""
    )
    name = f"Pair {(number + 1) // 2}, {example.answer}" if example.answer else f"Document {number}"
    echo(f"\n{name}: {example.length:,} tokens{beginning}, {learned:,} learned, between {BEGIN} and {END}:")
    echo("".join(f"{BEGIN}{text}{END}" if is_learned else text for text, is_learned in example.text))
