"""A text file as training blocks: all of it packed, its tail held out, its order a pure function of the seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.tokenizer import Tokenizer, Tokens

SEPARATOR = re.compile(rb"(?:\r?\n)?<\|endoftext\|>(?:\r?\n)?")
Indices = npt.NDArray[np.int64]
IGNORED = -100  # the target of a position that has none


@dataclass(frozen=True)
class Batch:
    """Some blocks. Shapes are (B, S); `targets` is the token after each, or IGNORED."""

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor | None

    def to(self, device: torch.device) -> Batch:
        ids = self.document_ids
        return Batch(self.tokens.to(device), self.targets.to(device), ids if ids is None else ids.to(device))

    def valid_tokens(self) -> int:
        return int((self.targets != IGNORED).sum())


@dataclass(frozen=True)
class Stream:
    """Documents in a row, each ended by the end-of-text token, cut into blocks of `length` tokens.

    A block also knows the token after its last, so every token but the first is a target exactly once.
    """

    tokens: Tokens
    documents: Tokens  # which document each token belongs to
    length: int
    pad_id: int
    text_bytes: int

    @property
    def blocks(self) -> int:
        return -(-(len(self.tokens) - 1) // self.length)

    @property
    def packed(self) -> bool:
        return bool(self.documents[-1] > 0)

    def batch(self, indices: Indices) -> Batch:
        """The blocks with these indices. Padding after the last token is a document of its own."""
        offsets = indices[:, None] * self.length + np.arange(self.length + 1)
        inside = np.minimum(offsets, len(self.tokens) - 1)
        past = offsets >= len(self.tokens)
        tokens = np.where(past, self.pad_id, self.tokens[inside])
        documents = np.where(past, self.documents[-1] + 1, self.documents[inside])
        # The first token of a document does not follow from the document before it.
        targets = np.where((documents[:, 1:] == documents[:, :-1]) & ~past[:, 1:], tokens[:, 1:], IGNORED)
        ids = torch.from_numpy(documents[:, :-1].astype(np.int64)) if self.packed else None
        return Batch(
            torch.from_numpy(tokens[:, :-1].astype(np.int64)), torch.from_numpy(targets.astype(np.int64)), ids
        )


@dataclass(frozen=True)
class Dataset:
    """A text file's two parts, and its bytes' entropies in bits: what a model must beat."""

    training: Stream
    held_out: Stream | None
    unigram_entropy: float
    bigram_entropy: float

    @property
    def packed(self) -> bool:
        return self.training.packed or bool(self.held_out and self.held_out.packed)


def load(path: Path, tokenizer: Tokenizer, length: int, eval_fraction: float) -> Dataset:
    """Read, tokenize and split a text file.

    Raises:
        UserError: it is missing, cannot be read, or holds too little.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"No data set at {path.absolute()}. Set data.dataset_file (--dataset-file) to a text file; "
            "training_data/curated_datasets/test_sample.txt is one."
        ) from None
    except OSError as error:
        raise UserError(f"The data set {path.absolute()} cannot be read: {error.strerror}.") from error
    if not text.strip():
        raise UserError(
            f"The data set {path.absolute()} is empty ({len(text)} bytes): there is nothing to train on."
        )
    cut = _cut(text, eval_fraction)
    training = stream(text[:cut], tokenizer, length)
    held_out = stream(text[cut:], tokenizer, length) if eval_fraction else None
    for part, name in ((training, "training"), (held_out, "held-out")):
        if part is not None and len(part.tokens) < length + 1:
            raise UserError(
                f"The data set {path.absolute()} is too short: its {name} part has {len(part.tokens)} tokens and one "
                f"sequence takes {length + 1} (data.max_length = {length}, and the token after it). Set a smaller "
                f"data.max_length (--max-length), hold out another share (data.eval_fraction = {eval_fraction}), "
                "or use more text."
            )
    unigram, bigram = entropies(text)
    return Dataset(training, held_out, unigram, bigram)


def stream(text: bytes, tokenizer: Tokenizer, length: int) -> Stream:
    """Tokenize documents, end each, and put them in a row."""
    documents = [document for document in SEPARATOR.split(text) if document]
    tokens = [np.append(tokenizer.encode(document), np.int32(tokenizer.end_id)) for document in documents]
    numbers = [np.full(len(part), number, dtype=np.int32) for number, part in enumerate(tokens)]
    empty = np.empty(0, dtype=np.int32)
    size = sum(len(document) for document in documents)
    return Stream(
        np.concatenate([empty, *tokens]), np.concatenate([empty, *numbers]), length, tokenizer.pad_id, size
    )


def order(seed: int, first: int, count: int, blocks: int) -> Indices:
    """The blocks that `count` samples of a run are, from the sample `first` on: each epoch shuffles all of them anew."""
    return np.array(
        [_shuffle(seed, sample // blocks, blocks)[sample % blocks] for sample in range(first, first + count)]
    )


@lru_cache(maxsize=2)  # a step that ends an epoch begins the next
def _shuffle(seed: int, epoch: int, blocks: int) -> Indices:
    return np.random.default_rng([seed, epoch]).permutation(blocks)


def entropies(text: bytes) -> tuple[float, float]:
    """Bits per byte of the best model that knows byte frequencies, and of the best that knows the byte before."""
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64)
    pairs = _entropy(np.bincount(codes[:-1] * 256 + codes[1:]))
    return _entropy(np.bincount(codes)), pairs - _entropy(np.bincount(codes[:-1]))


def _entropy(counts: Indices) -> float:
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log2(p)).sum())


def _cut(text: bytes, eval_fraction: float) -> int:
    """Where the held-out tail begins: after a line if one ends near, and never inside a character."""
    tail = int(len(text) * eval_fraction)
    cut = len(text) - tail
    newline = text.find(b"\n", cut, cut + min(tail // 2, 1000))
    if newline >= 0:
        return newline + 1
    while cut < len(text) and text[cut] & 0xC0 == 0x80:
        cut += 1
    return cut
