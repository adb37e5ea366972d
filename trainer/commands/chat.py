"""`aios chat`. torch is imported when the command runs, so that `--help` is quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.generation import (
    Amp,
    AttentionBackend,
    Checkpoint,
    Device,
    MaxNewTokens,
    MinP,
    RepetitionPenalty,
    Seed,
    Temperature,
    TopK,
    TopP,
)
from trainer.commands.output import echo, write_generated
from trainer.commands.training import CapabilityFile, Strict, StrictCapability
from trainer.errors import UserError

if TYPE_CHECKING:
    from trainer.conversation import Conversation

PROMPT = "> "
EXIT, NEW = ("/exit", "/quit"), "/new"
HOW = f"{NEW} starts a new conversation, {EXIT[0]} ends. Ctrl-C stops an answer."

chat = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@chat.command()
def run_chat(
    checkpoint: Checkpoint,
    system: Annotated[
        str | None, typer.Option(help="System message, such as how to answer. Default: none.")
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(
            help="How conversations are written: chatml, alpaca, vicuna, plain, or a Jinja file. Default: the tokenizer's own "
            "template; plain if it has none: the model continues each message."
        ),
    ] = None,
    max_new_tokens: MaxNewTokens = 500,
    temperature: Temperature = 0.7,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.05,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = 1234,
    device: Device = "auto",
    attention_backend: AttentionBackend = "auto",
    amp: Amp = False,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Read messages and write answers as lines of JSON, for programs.")
    ] = False,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
) -> None:
    """Talk to a model in the terminal.

    Each line of the input is a message. Answers go to stdout, everything else to stderr.
    """
    with report_errors():
        from trainer import capability
        from trainer.conversation import Conversation
        from trainer.generate import load
        from trainer.models import chat_template as templates
        from trainer.models.sampling import Sampling
        from trainer.records.progress import Reporter

        say = Reporter().say
        proven = capability.load(capability_file, strict=strict_capability, say=say)
        model, tokenizer = load(checkpoint, device, attention_backend, proven, say, amp=amp, strict=strict)
        template = templates.choose(chat_template, tokenizer, templates.CONTINUES)
        sampling = Sampling(max_new_tokens, temperature, top_k, seed, top_p, min_p, repetition_penalty)
        conversation = Conversation(model, tokenizer, template, sampling, system, say)
        if jsonl:
            from trainer.commands import chat_events

            chat_events.converse(conversation, template.name)
            return
        if template.name == templates.CONTINUES and not chat_template:
            say(f"INFO: this model was trained without a chat template: it continues each message. {HOW}")
        else:
            say(f"INFO: chat template: {template.name}. {HOW}")
        _converse(conversation)


def _converse(conversation: Conversation) -> None:
    for line in _lines():
        text = line.strip()
        if text in EXIT:
            return
        if text == NEW:
            conversation.start_over()
        elif text:
            _answer(conversation, text)


def _answer(conversation: Conversation, text: str) -> None:
    """Print an answer until it ends, or Ctrl-C. An error of one message does not end the conversation."""
    try:
        for piece in conversation.answer(text):
            write_generated(piece)
    except KeyboardInterrupt:
        pass
    except UserError as error:
        echo(f"Error: {error}", err=True)
        return
    write_generated("\n")


def _lines() -> Iterator[str]:
    """The lines of the input up to its end, with a prompt on a terminal. Ctrl-C between answers ends the program."""
    if not sys.stdin.isatty():
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(errors="replace")
        yield from sys.stdin
        return
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            write_generated("\n")
            return
