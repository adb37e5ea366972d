"""Text to token ids and back: as plain bytes, or by a Hugging Face tokenizer."""

from __future__ import annotations

import codecs
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer import file_kinds
from trainer.errors import UserError
from trainer.models.hub import local_copy

Tokens = npt.NDArray[np.int32]

CONFIG_FILE = "tokenizer_config.json"


class Tokenizer(Protocol):
    """The tokenizer interface of training and generation. `pad_id` never equals `end_id`, the end-of-text token."""

    vocab_size: int
    end_id: int
    pad_id: int

    @property
    def fingerprint(self) -> str:
        """A string that differs between tokenizers that encode a text differently."""

    def encode(self, text: bytes) -> Tokens:
        """Token ids of a document, without the end-of-text token. Raises NotUtf8Error."""

    def encode_batch(self, texts: list[bytes]) -> list[Tokens]:
        """The token ids of each document; faster than one at a time. Raises NotUtf8Error."""

    def decode(self, tokens: list[int]) -> bytes:
        """The text of tokens that start and end at character boundaries. Special tokens have no text."""

    def decoder(self) -> Decoder:
        """A new streaming decoder."""

    def save(self, folder: Path) -> None:
        """Write the files from which `load` makes this tokenizer."""


class Decoder(Protocol):
    """A streaming decoder: takes one token at a time."""

    def decode(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""

    def flush(self) -> str:
        """The remaining text: a replacement character if the last character is incomplete."""


class NotUtf8Error(UserError):
    """A text is not valid UTF-8."""

    def __init__(self, text: bytes, error: UnicodeDecodeError) -> None:
        super().__init__(
            f"The text is not UTF-8 ({error.reason} at byte {error.start}): {file_kinds.not_utf8(text)}"
        )


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 is end-of-text, 257 is padding. Reads any file, even if it is not text."""

    end_id = 256
    pad_id = 257
    vocab_size = 258
    fingerprint = "byte"

    def encode(self, text: bytes) -> Tokens:
        return np.frombuffer(text, dtype=np.uint8).astype(np.int32)

    def encode_batch(self, texts: list[bytes]) -> list[Tokens]:
        return [self.encode(text) for text in texts]

    def decode(self, tokens: list[int]) -> bytes:
        ids = np.asarray(tokens)
        return ids[ids < 256].astype(np.uint8).tobytes()

    def decoder(self) -> Decoder:
        return _ByteDecoder()

    def save(self, folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(
            json.dumps({"tokenizer_class": "ByteTokenizer"}) + "\n", encoding="utf-8"
        )


class _ByteDecoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, token: int) -> str:
        return self._utf8.decode(bytes([token]) if token < 256 else b"")

    def flush(self) -> str:
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
                f"The tokenizer in {folder} has no end-of-text token, so documents cannot be separated."
            )
        self.vocab_size = len(self._tokenizer)
        self.end_id = int(self._tokenizer.eos_token_id)
        pad = self._tokenizer.pad_token_id
        # Padding is never a target, and no real token sees it, so any other id works.
        self.pad_id = int(pad) if pad not in (None, self.end_id) else int(self.end_id == 0)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole tokenizer, or of its vocabulary if it cannot be serialized."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        vocabulary = sorted(self._tokenizer.get_vocab().items())
        whole = backend.to_str() if backend else json.dumps([type(self._tokenizer).__name__, vocabulary])
        return hashlib.sha256(whole.encode("utf-8")).hexdigest()

    def encode(self, text: bytes) -> Tokens:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[bytes]) -> list[Tokens]:
        encoded = self._tokenizer(
            [_utf8(text) for text in texts],
            add_special_tokens=False,
            return_attention_mask=False,
            verbose=False,
        )
        return [np.asarray(tokens, dtype=np.int32) for tokens in encoded["input_ids"]]

    def decode(self, tokens: list[int]) -> bytes:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text.encode("utf-8")

    def decoder(self) -> Decoder:
        return _StreamingDecoder(self._tokenizer)

    def save(self, folder: Path) -> None:
        self._tokenizer.save_pretrained(folder)


def _utf8(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8Error(text, error) from None


class _StreamingDecoder:
    """Returns text as soon as further tokens cannot change it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._returned = ""

    def decode(self, token: int) -> str:
        self._tokens.append(token)
        text = self._text()
        if text.endswith("\ufffd"):
            return ""
        new = text[len(self._returned) :]
        self._returned = text
        if new.endswith("\n"):  # forget the tokens, so that the cost of decoding stays bounded
            self._tokens, self._returned = [], ""
        return new

    def flush(self) -> str:
        return self._text()[len(self._returned) :]

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))


def load(name: str | None, model_folder: Path | None) -> Tokenizer:
    """The named tokenizer, or else the one in the model's folder.

    Raises:
        UserError: it was not found, or cannot be used.
    """
    if name == "byte":
        return ByteTokenizer()
    folder = local_copy(name, "model.tokenizer (--tokenizer)") if name else model_folder
    assert folder is not None, "the configuration names a tokenizer or a model"
    config = folder / CONFIG_FILE
    if config.exists() and "ByteTokenizer" in config.read_text(encoding="utf-8"):
        return ByteTokenizer()
    return HuggingFaceTokenizer(folder)
