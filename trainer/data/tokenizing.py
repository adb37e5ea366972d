"""Tokenizing a data set into array files, in this process or in several.

Several processes tokenize files of the data set, each into files of its own, which are appended to the arrays in the order of
the data set. Every process holds only a few megabytes of text at a time, and the result is the same, byte for byte.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from trainer.data.entropy import BytePairs
from trainer.data.instructions import Reading, Tally
from trainer.data.opening import Source
from trainer.data.tokens import ARRAYS, Array, Progress, build, narrowest, read
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

TASK = 64 << 20  # bytes of text that a process tokenizes in one go, at least; a file is never split
AHEAD = 2  # tasks for each process that may be done before they are appended
BLOCK = 1 << 22  # elements that are appended at a time


@dataclass
class Writing:
    """The array files of a cache while they are written.

    Attributes:
        lengths: of the arrays so far.
        largest: the largest token so far; None without tokens.
    """

    files: Mapping[str, BinaryIO]
    lengths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ARRAYS, 0))
    largest: int | None = None

    def append(self, name: str, array: Array) -> None:
        self.files[name].write(array.tobytes())
        self.lengths[name] += len(array)
        if name == "tokens" and len(array):
            self.largest = max(self.largest or 0, int(array.max()))


@dataclass(frozen=True)
class Part:
    """What a process has tokenized: the files are in a folder, by array."""

    folder: Path
    tally: Tally
    pairs: BytePairs
    size: int  # bytes of text
    documents: int


def in_this_process(
    sources: list[Source], reading: Reading, tokenizer: Tokenizer, writing: Writing, say: Say
) -> tuple[Tally, BytePairs]:
    """Tokenize files one after the other."""
    tally = Tally()
    text = read(sources, reading, Progress(sources, say), tally)
    return tally, build(text, tokenizer, writing.append)


def in_processes(
    sources: list[Source],
    reading: Reading,
    tokenizer: Tokenizer,
    writing: Writing,
    processes: int,
    say: Say,
) -> tuple[Tally, BytePairs]:
    """As `in_this_process`, with several processes."""
    tally, pairs, progress = Tally(), BytePairs(), Progress(sources, say)
    text = documents = 0
    spawn = multiprocessing.get_context("spawn")  # as on Windows
    where = Path(next(iter(writing.files.values())).name).parent
    with (
        tempfile.TemporaryDirectory(prefix="parts-", dir=where, ignore_cleanup_errors=True) as folder,
        ProcessPoolExecutor(processes, mp_context=spawn) as pool,
    ):
        tasks = enumerate(_tasks(sources))
        waiting: list[tuple[list[Source], Future[Part]]] = []
        while True:
            while len(waiting) < processes * AHEAD and (task := next(tasks, None)):
                number, files = task
                target = Path(folder) / str(number)
                waiting.append((files, pool.submit(_tokenize, files, reading, tokenizer, target)))
            if not waiting:
                return tally, pairs
            files, done = waiting.pop(0)
            part = done.result()
            offsets = {
                "ends": writing.lengths["tokens"],
                "ignored": writing.lengths["tokens"],
                "byte_ends": text,
                "documents": documents,
            }
            _append(part, offsets, writing, tokenizer)
            text, documents = text + part.size, documents + part.documents
            tally.add(part.tally)
            pairs.add_counts(part.pairs)
            for source in files:
                progress.read(source, source.size)
                progress.done(source)


def _tasks(sources: list[Source]) -> Iterator[list[Source]]:
    task: list[Source] = []
    for source in sources:
        task.append(source)
        if sum(each.text_size for each in task) >= TASK:
            yield task
            task = []
    if task:
        yield task


def _tokenize(sources: list[Source], reading: Reading, tokenizer: Tokenizer, folder: Path) -> Part:
    """Tokenize files into a folder; runs in a process of its own."""
    folder.mkdir()
    with ExitStack() as stack:
        opened = {name: stack.enter_context((folder / name).open("wb")) for name in ARRAYS}
        writing, ends = Writing(opened), {"byte_ends": 0, "documents": -1}

        def append(name: str, array: Array) -> None:
            writing.append(name, array)
            if name in ends and len(array):
                ends[name] = int(array[-1])

        tally = Tally()
        pairs = build(read(sources, reading, Progress(sources, lambda line: None), tally), tokenizer, append)
    return Part(folder, tally, pairs, ends["byte_ends"], ends["documents"] + 1)


def _append(part: Part, offsets: Mapping[str, int], writing: Writing, tokenizer: Tokenizer) -> None:
    """Append the files of a part, a block at a time, and delete them."""
    for name in ARRAYS:
        kind = np.dtype(narrowest(tokenizer.vocab_size) if name == "tokens" else np.int64)
        with (part.folder / name).open("rb") as file:
            while block := file.read(BLOCK * kind.itemsize):
                array = np.frombuffer(block, dtype=kind)
                writing.append(name, array + offsets[name] if name in offsets else array)
        (part.folder / name).unlink()
