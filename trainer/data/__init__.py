"""Text for training: files → documents → tokens → rows, what is held out of them, and the order of reading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from trainer.config import DataSection
from trainer.data import split, tokens
from trainer.data.entropy import entropies
from trainer.data.order import Order
from trainer.data.sources import Source, documents, find
from trainer.data.stream import IGNORED, Batch, Stream, make
from trainer.data.token_cache import TokenCache
from trainer.data.tokens import Indices, Tokenized
from trainer.errors import UserError
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

__all__ = ["IGNORED", "Batch", "Dataset", "Indices", "Order", "Stream", "entropies", "load", "stream"]

SMALL = 4 << 20  # bytes of files whose tokens are not worth keeping


@dataclass(frozen=True)
class Dataset:
    """A data set's two parts, and its bytes' entropies in bits: what a model must beat."""

    training: Stream
    held_out: Stream | None
    unigram_entropy: float
    bigram_entropy: float

    @property
    def content(self) -> dict[str, int | float]:
        """Figures that an edit of the text, another tokenizer or other rows would hardly leave as they are."""
        return {
            "training_tokens": len(self.training.tokens),
            "samples": self.training.blocks,
            "text_bytes": self.training.text_bytes,
            "unigram_entropy": round(self.unigram_entropy, 9),
            "bigram_entropy": round(self.bigram_entropy, 9),
        }

    @property
    def packed(self) -> bool:
        return self.training.packed or bool(self.held_out and self.held_out.packed)


def load(settings: DataSection, tokenizer: Tokenizer, say: Say) -> Dataset:
    """Read, tokenize and split what the configuration names.

    Raises:
        UserError: it is missing, cannot be read, or holds too little.
        RunError: its tokens cannot be kept.
    """
    assert settings.dataset_file is not None, "checked by config.load"
    source = _tokenized(settings.dataset_file, settings, tokenizer, say)
    cut, evaluated = split.end(source), None
    if settings.eval_file:
        other = _tokenized(settings.eval_file, settings, tokenizer, say)
        evaluated = _part(other, split.START, split.end(other), settings, tokenizer)
    elif settings.eval_fraction:
        cut = split.tail(source, tokenizer, settings.eval_fraction)
        evaluated = _part(source, cut, split.end(source), settings, tokenizer)
        if cut.inside and source.documents[-1]:
            say("INFO: the held-out text begins inside a document: none ends near.")
    training = _part(source, split.START, cut, settings, tokenizer)
    _check(training, "training", settings.dataset_file, settings)
    if evaluated:
        _check(evaluated, "held-out", settings.eval_file or settings.dataset_file, settings)
    if settings.dataset_start_offset >= training.blocks:
        raise UserError(
            f"data.dataset_start_offset = {settings.dataset_start_offset}: the data set has {training.blocks} samples of "
            f"{settings.max_length} tokens to train on. Set data.dataset_start_offset (--dataset-start-offset) to less."
        )
    return Dataset(training, evaluated, *source.entropies)


def stream(text: bytes, tokenizer: Tokenizer, length: int) -> Stream:
    """A text that is there already as a stream; <|endoftext|> ends a document."""
    pieces = (piece for piece in documents(text) if piece.text or not piece.last)
    source = tokens.of_text(pieces, tokenizer)
    return make(
        source, 0, len(source.tokens), int(source.byte_ends[-1]), length, tokenizer.pad_id, packing=True
    )


def cache_folder() -> Path:
    """Where tokens are kept if the configuration does not say: below `AIOS_HOME`, else with this user's caches."""
    own = os.environ.get("AIOS_HOME")
    return Path(own or platformdirs.user_cache_dir("aios", appauthor=False)).absolute() / "tokens"


def _tokenized(path: Path, settings: DataSection, tokenizer: Tokenizer, say: Say) -> Tokenized:
    sources = find(path, say)
    size = sum(source.size for source in sources)
    if size <= SMALL and settings.cache_dir is None:
        found = tokens.in_memory(sources, tokenizer, settings.text_field, say)
    else:
        folder = settings.cache_dir or cache_folder()
        found = TokenCache(folder, path, sources, tokenizer, settings.text_field).tokens(say)
    if not len(found.ends):
        raise UserError(
            f"The data set {path.absolute()} is empty ({_files(sources)}, {size} bytes, all of them blank): there is "
            "nothing to train on."
        )
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
    )


def _check(part: Stream, name: str, path: Path, settings: DataSection) -> None:
    """Refuse a part that does not fill a row; where documents have rows of their own, one that has no target."""
    needed = settings.max_length + 1 if settings.packing else 2
    if len(part.tokens) >= needed and part.blocks:
        return
    raise UserError(
        f"The data set {path.absolute()} is too short: its {name} part has {len(part.tokens)} tokens and one "
        f"sequence takes {needed} (data.max_length = {settings.max_length}, and the token after it). Set a smaller "
        f"data.max_length (--max-length), hold out another share (data.eval_fraction = {settings.eval_fraction}), "
        "or use more text."
    )
