"""Text to token ids and back: bytes as they are, or a Hugging Face tokenizer."""

from __future__ import annotations

import codecs
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer.errors import UserError
from trainer.models.hub import local_copy

Tokens = npt.NDArray[np.int32]

DESCRIPTION = "tokenizer_config.json"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Tokenizer(Protocol):
    """What training and generation need of a tokenizer. `pad_id` never equals `end_id`, the end-of-text token."""

    vocab_size: int
    end_id: int
    pad_id: int

    @property
    def fingerprint(self) -> str:
        """Differs between two tokenizers that give one text different tokens."""

    def encode(self, text: bytes) -> Tokens:
        """Token ids of a document, without the end-of-text token. Raises NotUtf8Error."""

    def encode_batch(self, texts: list[bytes]) -> list[Tokens]:
        """The same for each of several, and quicker. Raises NotUtf8Error."""

    def decode(self, tokens: list[int]) -> bytes:
        """The text of tokens that begin and end between two characters; end-of-text and the like have none."""

    def decoder(self) -> Decoder:
        """A new decoder, which takes tokens one at a time."""

    def save(self, folder: Path) -> None:
        """Write what `load` needs to make this tokenizer again."""


class Decoder(Protocol):
    def decode(self, token: int) -> str:
        """The text that this token completes; empty while a character is not whole."""

    def rest(self) -> str:
        """What is left of a character that stayed incomplete, as a replacement character."""


class NotUtf8Error(UserError):
    """A text that should be UTF-8 is not."""

    def __init__(self, text: bytes, error: UnicodeDecodeError) -> None:
        encoding = (
            "it looks like UTF-16" if text[:2] in UTF16 else f"byte {error.start} of it: {error.reason}"
        )
        super().__init__(
            f"The text is not UTF-8 ({encoding}). Convert it, or use --tokenizer byte, which takes any file."
        )


class ByteTokenizer:
    """256 bytes, then end-of-text, then padding. Takes any file, text or not."""

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

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that the tokenizer is, or of its vocabulary where it does not say what it is."""
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
        return _PieceDecoder(self._tokenizer)

    def save(self, folder: Path) -> None:
        self._tokenizer.save_pretrained(folder)


def _utf8(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8Error(text, error) from None


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
