"""Text to token ids and back: bytes as they are, or a Hugging Face tokenizer."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer.errors import UserError
from trainer.hub import local_copy

Tokens = npt.NDArray[np.int32]

DESCRIPTION = "tokenizer_config.json"


class Tokenizer(Protocol):
    """What training and generation need of a tokenizer. `pad_id` never equals `end_id`, the end-of-text token."""

    vocab_size: int
    end_id: int
    pad_id: int

    def encode(self, text: bytes) -> Tokens:
        """Token ids of a document, without the end-of-text token."""

    def decoder(self) -> Decoder:
        """A new decoder, which takes tokens one at a time."""

    def save(self, folder: Path) -> None:
        """Write what `load` needs to make this tokenizer again."""


class Decoder(Protocol):
    def decode(self, token: int) -> str:
        """The text that this token completes; empty while a character is not whole."""

    def rest(self) -> str:
        """What is left of a character that stayed incomplete, as a replacement character."""


class ByteTokenizer:
    """256 bytes, then end-of-text, then padding. Takes any file, text or not."""

    end_id = 256
    pad_id = 257
    vocab_size = 258

    def encode(self, text: bytes) -> Tokens:
        return np.frombuffer(text, dtype=np.uint8).astype(np.int32)

    def decoder(self) -> Decoder:
        return _ByteDecoder()

    def save(self, folder: Path) -> None:
        (folder / DESCRIPTION).write_text(
            json.dumps({"tokenizer_class": "ByteTokenizer"}) + "\n", encoding="utf-8"
        )


class _ByteDecoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, token: int) -> str:
        return self._utf8.decode(bytes([token]) if token < 256 else b"")

    def rest(self) -> str:
        return self._utf8.decode(b"", final=True)


class HuggingFaceTokenizer:
    """A tokenizer of the transformers library, read from a local folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"No tokenizer could be read from {folder} ({str(error).splitlines()[0]}). "
                "Name another with model.tokenizer (--tokenizer), or use --tokenizer byte."
            ) from error
        if self._tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer in {folder} has no end-of-text token, so documents cannot be told apart."
            )
        self.vocab_size = len(self._tokenizer)
        self.end_id = int(self._tokenizer.eos_token_id)
        pad = self._tokenizer.pad_token_id
        # Padding is never a target and never seen by a real token, so any other id will do.
        self.pad_id = int(pad) if pad not in (None, self.end_id) else int(self.end_id == 0)

    def encode(self, text: bytes) -> Tokens:
        try:
            content = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"The text is not UTF-8 (byte {error.start}: {error.reason}). Convert it, or use --tokenizer byte, "
                "which takes any file."
            ) from error
        return np.asarray(
            self._tokenizer.encode(content, add_special_tokens=False, verbose=False), dtype=np.int32
        )

    def decoder(self) -> Decoder:
        return _PieceDecoder(self._tokenizer)

    def save(self, folder: Path) -> None:
        self._tokenizer.save_pretrained(folder)


class _PieceDecoder:
    """Gives out the part of the text that further tokens cannot change."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._given = ""

    def decode(self, token: int) -> str:
        self._tokens.append(token)
        text = self._text()
        if text.endswith("\ufffd"):
            return ""
        new = text[len(self._given) :]
        self._given = text
        if new.endswith("\n"):  # start afresh, so that the cost of decoding stays bounded
            self._tokens, self._given = [], ""
        return new

    def rest(self) -> str:
        return self._text()[len(self._given) :]

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))


def load(name: str | None, model_folder: Path | None) -> Tokenizer:
    """The tokenizer that is named, or else the one beside the model.

    Raises:
        UserError: there is none.
    """
    if name == "byte":
        return ByteTokenizer()
    folder = local_copy(name, "model.tokenizer (--tokenizer)") if name else model_folder
    assert folder is not None, "the configuration names a tokenizer or a model"
    description = folder / DESCRIPTION
    if description.exists() and "ByteTokenizer" in description.read_text(encoding="utf-8"):
        return ByteTokenizer()
    return HuggingFaceTokenizer(folder)
