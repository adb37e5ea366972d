"""Tokenize a changed data set on Windows while an earlier run still reads the old tokens. Prints the messages.

Arguments: the data set, the cache folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trainer import data
from trainer.config import DataSection
from trainer.models.tokenizer import ByteTokenizer

text, cache = map(Path, sys.argv[1:])
settings = DataSection(dataset_file=text, cache_dir=cache, max_length=8)


def say(line: str) -> None:
    sys.stdout.buffer.write(line.encode("utf-8") + b"\n")


def load() -> data.Dataset:
    return data.load(settings, ByteTokenizer(), say)


earlier = load()
before = earlier.training.tokens.copy()
text.write_bytes(text.read_bytes() + b"and more of it\n")
later = load()
load()  # prints nothing
assert len(later.training.tokens) > len(before)
assert (earlier.training.tokens == before).all()
