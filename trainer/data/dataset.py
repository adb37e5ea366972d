"""A data set: its files found, tokenized, and split into a training part and a held-out part."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from trainer.config import DataSection
from trainer.data import description, split, tokens
from trainer.data.best_fit_packing import WholeRows
from trainer.data.documents import of_text
from trainer.data.instructions import Reading
from trainer.data.opening import Source
from trainer.data.sources import find
from trainer.data.stream import Stream, make
from trainer.data.text_rows import ContinuousRows
from trainer.data.token_cache import TokenCache
from trainer.data.tokens import Tokenized
from trainer.errors import UserError
from trainer.models import chat_template
from trainer.models.chat_template import ChatTemplate
from trainer.models.tokenizer import ByteTokenizer, Tokenizer
from trainer.say import Say

SMALL = 4 << 20  # bytes; a smaller data set is tokenized in memory at each start


@dataclass(frozen=True)
class Dataset:
    """The two parts of a data set, and the entropies of its bytes, which a model must beat.

    Attributes:
        held_out: None without an evaluation.
        unigram_entropy, bigram_entropy: in bits per byte; see `BytePairs.entropies`.
        template: how conversations were written; None without conversations.
    """

    training: Stream
    held_out: Stream | None
    unigram_entropy: float
    bigram_entropy: float
    template: ChatTemplate | None = None

    @property
    def content(self) -> dict[str, int | float]:
        """Figures that identify the data: an edit, another tokenizer or another row length changes at least one of them."""
        learned = {"learned_tokens": self.training.text_tokens} if self.template else {}
        return {
            "training_tokens": len(self.training.tokens),
            "samples": self.training.blocks,
            "text_bytes": self.training.text_bytes,
            "unigram_entropy": round(self.unigram_entropy, 9),
            "bigram_entropy": round(self.bigram_entropy, 9),
            **learned,
        }

    @property
    def packed(self) -> bool:
        return self.training.packed or bool(self.held_out and self.held_out.packed)


def load(settings: DataSection, tokenizer: Tokenizer, say: Say, processes: int = 1) -> Dataset:
    """Read, tokenize and split the data set of a configuration.

    Args:
        processes: number of processes to tokenize with, if that has not been done.

    Raises:
        UserError: the data set is missing, unreadable or too short.
        RunError: the token cache cannot be written.
    """
    assert settings.dataset_file is not None, "checked by config.load"
    template = chat_template.choose(settings.chat_template, tokenizer)
    source = tokenized(settings.dataset_file, settings, tokenizer, template, say, processes)
    found = [source]
    cut, evaluated = split.end(source), None
    if settings.eval_file:
        other = tokenized(settings.eval_file, settings, tokenizer, template, say, processes)
        found.append(other)
        evaluated = _part(other, split.START, split.end(other), settings, tokenizer)
    elif settings.eval_fraction:
        cut = split.tail(source, tokenizer, settings.eval_fraction)
        evaluated = _part(source, cut, split.end(source), settings, tokenizer)
        if cut.inside and source.documents[-1]:
            say(
                "INFO: the held-out text starts in the middle of a document: no document ends close to the split."
            )
    training = _part(source, split.START, cut, settings, tokenizer)
    _check(training, "training", settings.dataset_file, settings)
    if evaluated:
        _check(evaluated, "held-out", settings.eval_file or settings.dataset_file, settings)
    if settings.dataset_start_offset >= training.blocks:
        raise UserError(
            f"data.dataset_start_offset = {settings.dataset_start_offset} is past the end of the data set, which has "
            f"{training.blocks} training samples of {settings.max_length} tokens. Set a smaller "
            "data.dataset_start_offset (--dataset-start-offset)."
        )
    if any(each.tally.conversations for each in found):
        for line in description.of_streams(
            [part for part in (training, evaluated) if part], settings, template
        ):
            say(line)
    return Dataset(
        training,
        evaluated,
        *source.entropies,
        template if any(each.tally.templated for each in found) else None,
    )


def stream_of(text: bytes, tokenizer: Tokenizer, length: int) -> Stream:
    """Tokenize a text in memory; <|endoftext|> separates its documents."""
    pieces = (piece for piece in of_text(text) if piece.text or not piece.last)
    source = tokens.of_text(pieces, tokenizer)
    end, size = len(source.tokens), int(source.byte_ends[-1])
    return make(source, 0, end, size, length, tokenizer.pad_id, packing=True, prefix=len(tokenizer.prefix))


def cache_folder() -> Path:
    """The default token cache: below `AIOS_HOME` if that is set, else in the user's cache folder."""
    own = os.environ.get("AIOS_HOME")
    return Path(own or platformdirs.user_cache_dir("aios", appauthor=False)).absolute() / "tokens"


def tokenized(
    path: Path,
    settings: DataSection,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    say: Say,
    processes: int = 1,
) -> Tokenized:
    """The tokens of a file or folder. Says what was recognized in its records, and what was dropped.

    Raises:
        UserError: it is missing, unreadable, or nothing in it can be trained on.
    """
    reading = Reading(
        settings.text_field, settings.data_format, settings.train_on, template.with_fixed_date()
    )
    folder = settings.cache_dir or cache_folder()
    if cached := TokenCache.unchanged(folder, path, tokenizer, reading):
        for line in description.of_records(cached.tally):
            say(line)
        return cached
    sources = find(path, say, reading, any_bytes=isinstance(tokenizer, ByteTokenizer))
    size = sum(source.size for source in sources)
    if sum(source.text_size for source in sources) <= SMALL and settings.cache_dir is None:
        found = tokens.in_memory(sources, tokenizer, reading, say)
    else:
        found = TokenCache(folder, path, sources, tokenizer, reading, processes).tokens(say)
    if not len(found.ends) and found.tally.dropped:
        raise UserError(
            f"The data set {path.absolute()} contains nothing to learn: all of its records were dropped. "
            f"{description.of_dropped(found.tally)}"
        )
    if not len(found.ends):
        raise UserError(
            f"The data set {path.absolute()} contains no text: {_files(sources)}, {size} bytes, all blank. "
            "Set data.dataset_file (--dataset-file) to a file or folder with text."
        )
    for line in description.of_records(found.tally):
        say(line)
    return found


def _files(sources: list[Source]) -> str:
    return "1 file" if len(sources) == 1 else f"{len(sources)} files"


def _part(
    source: Tokenized, begin: split.Cut, end: split.Cut, settings: DataSection, tokenizer: Tokenizer
) -> Stream:
    return make(
        source,
        begin.token,
        end.token,
        end.byte - begin.byte,
        settings.max_length,
        tokenizer.pad_id,
        settings.packing,
        len(tokenizer.prefix),
    )


def _check(part: Stream, name: str, path: Path, settings: DataSection) -> None:
    """Raise UserError if a part does not fill one row (packed), or has no target at all (not packed)."""
    needed = settings.max_length + 1 if isinstance(part.rows, ContinuousRows) else 2
    if len(part.tokens) >= needed and part.blocks:
        return
    if part.pairs:
        raise UserError(
            f"The {name} part of the data set {path.absolute()} has no pair of answers in data.max_length = "
            f"{settings.max_length} tokens. Set a larger data.max_length (--max-length), change the held-out share "
            f"(data.eval_fraction = {settings.eval_fraction}), or add pairs."
        )
    if isinstance(part.rows, WholeRows) and len(part.tokens) >= needed:
        raise UserError(
            f"The data set {path.absolute()} contains nothing to learn in its {name} part: no conversation has an answer "
            f"within its first {settings.max_length} tokens (data.max_length). Set a larger data.max_length (--max-length)."
        )
    raise UserError(
        f"The data set {path.absolute()} is too short: its {name} part has {len(part.tokens)} tokens, and one "
        f"sequence needs {needed} (data.max_length = {settings.max_length}, plus the token after it). Set a smaller "
        f"data.max_length (--max-length), change the held-out share (data.eval_fraction = {settings.eval_fraction}), "
        "or add text."
    )
