"""The interface of tokenizers, the byte tokenizer, and which tokenizer a run uses."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from doctor.bounded import parse_json, read_beginning
from trainer.errors import UserError
from trainer.models.decoding import CHARACTER
from trainer.models.hub import local_copy
from trainer.models.huggingface_tokenizer import CONFIG_FILE, HuggingFaceTokenizer, Mask, Tokens

END_OF_TEXT = "<|endoftext|>"  # how chat templates write the byte tokenizer's end-of-text token

CONFIG_BYTES = 1 << 20  # as many are searched for the name of the byte tokenizer


class Tokenizer(Protocol):
    """The tokenizer interface of training and generation.

    Attributes:
        end_id: the end-of-text token.
        pad_id: fills incomplete rows; never equals end_id. Without a padding token, an ordinary token.
        padding_token: the token that serves only as padding; None if there is none.
        prefix: the tokens in front of every document and prompt, such as the beginning-of-text token; often none.
    """

    vocab_size: int
    end_id: int
    pad_id: int
    padding_token: int | None
    prefix: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """A string that differs between tokenizers that encode a text differently."""

    def encode(self, text: bytes) -> Tokens:
        """Token ids of a text, without the prefix and the end-of-text token. Raises NotUtf8Error."""

    def encode_batch(self, texts: list[bytes], continued: Sequence[bool] | None = None) -> list[Tokens]:
        """The token ids of each text; faster than one at a time. Raises NotUtf8Error.

        Args:
            continued: whether each text continues another one, so that it gets no space in front. Default: none does.
        """

    def encode_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> list[tuple[Tokens, Mask]]:
        """The token ids of each text, without the prefix, and which of them contain a character of its spans.

        Args:
            spans: characters (start, end) of each text, in order.
        """

    @property
    def chat_templates(self) -> dict[str, str]:
        """The tokenizer's own chat templates: empty, or "default" and perhaps "tool_use"."""

    def use_chat_template(self, source: str) -> None:
        """Make a chat template the tokenizer's own, which `save` writes."""

    @property
    def template_variables(self) -> dict[str, str]:
        """What chat templates may use: special tokens by their names; `begins` if every text begins with bos_token."""

    @property
    def special_texts(self) -> tuple[str, ...]:
        """The texts that are special tokens."""

    def decode(self, tokens: list[int], before: Sequence[int] = ()) -> bytes:
        """The text that tokens add to those before them. They start and end at character boundaries.

        Special tokens have no text.
        """

    def decoder(self, before: Sequence[int] = ()) -> Decoder:
        """A new streaming decoder of the tokens that follow those before, such as a prompt's."""

    def written(self, tokens: Sequence[int]) -> str:
        """The tokens as text, with special tokens."""

    def names(self, tokens: Sequence[int]) -> str:
        """The tokens as they are written in the vocabulary, for messages."""

    def save(self, folder: Path) -> None:
        """Write the files from which `load` makes this tokenizer."""


class Decoder(Protocol):
    """A streaming decoder: takes one token at a time."""

    def decode(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""

    def flush(self) -> str:
        """The remaining text: a replacement character if the last character is incomplete."""


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 is end-of-text, 257 is padding. Reads any file, even if it is not text."""

    end_id = 256
    pad_id = 257
    padding_token: int | None = pad_id
    vocab_size = 258
    prefix: tuple[int, ...] = ()
    fingerprint = "byte"

    def __init__(self, chat_template: str | None = None) -> None:
        self._chat_template = chat_template

    def encode(self, text: bytes) -> Tokens:
        return np.frombuffer(text, dtype=np.uint8).astype(np.int32)

    def encode_batch(self, texts: list[bytes], continued: Sequence[bool] | None = None) -> list[Tokens]:
        return [self.encode(text) for text in texts]

    def encode_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> list[tuple[Tokens, Mask]]:
        return [self._encode_spans(*each) for each in zip(texts, spans, strict=True)]

    def _encode_spans(self, text: str, spans: Sequence[tuple[int, int]]) -> tuple[Tokens, Mask]:
        """Only here <|endoftext|> is the token, because templates can write it in no other way."""
        said = np.zeros(len(text), dtype=np.bool_)
        for start, end in spans:
            said[start:end] = True
        tokens: list[int] = []
        inside: list[bool] = []
        for part in re.finditer(rf"{re.escape(END_OF_TEXT)}|(?s:.)", text):
            ids = [self.end_id] if len(part[0]) > 1 else [*part[0].encode("utf-8", "replace")]
            tokens += ids
            inside += [bool(said[part.start() : part.end()].any())] * len(ids)
        return np.asarray(tokens, dtype=np.int32), np.asarray(inside, dtype=np.bool_)

    @property
    def chat_templates(self) -> dict[str, str]:
        return {"default": self._chat_template} if self._chat_template else {}

    def use_chat_template(self, source: str) -> None:
        self._chat_template = source

    @property
    def template_variables(self) -> dict[str, str]:
        return {"eos_token": END_OF_TEXT}

    @property
    def special_texts(self) -> tuple[str, ...]:
        return (END_OF_TEXT,)

    def decode(self, tokens: list[int], before: Sequence[int] = ()) -> bytes:
        ids = np.asarray(tokens)
        return ids[ids < 256].astype(np.uint8).tobytes()

    def decoder(self, before: Sequence[int] = ()) -> Decoder:
        return _ByteDecoder(before)

    def written(self, tokens: Sequence[int]) -> str:
        parts = (bytes([token]) if token < 256 else END_OF_TEXT.encode() for token in tokens)
        return b"".join(parts).decode("utf-8", "replace")

    def names(self, tokens: Sequence[int]) -> str:
        return ", ".join(map(str, tokens))

    def save(self, folder: Path) -> None:
        config = {"tokenizer_class": "ByteTokenizer"}
        if self._chat_template:
            config["chat_template"] = self._chat_template
        (folder / CONFIG_FILE).write_text(json.dumps(config) + "\n", encoding="utf-8")


class _ByteDecoder:
    def __init__(self, before: Sequence[int]) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        for token in before[-CHARACTER:]:
            self.decode(token)

    def decode(self, token: int) -> str:
        return self._utf8.decode(bytes([token]) if token < 256 else b"")

    def flush(self) -> str:
        return self._utf8.decode(b"", final=True)


def with_prefix(tokenizer: Tokenizer, tokens: Tokens) -> Tokens:
    """The tokens of a whole text with the tokenizer's prefix, unless the text itself begins with it."""
    prefix = np.asarray(tokenizer.prefix, dtype=np.int32)
    if np.array_equal(tokens[: len(prefix)], prefix):
        return tokens
    return np.concatenate([prefix, tokens])


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The tokens of a prompt, with the tokenizer's prefix."""
    tokens: list[int] = with_prefix(
        tokenizer, tokenizer.encode(prompt.encode("utf-8", "surrogateescape"))
    ).tolist()
    return tokens


def load(name: str | None, model_folder: Path | None, add_bos_token: bool | None = None) -> Tokenizer:
    """The named tokenizer, or else the one in the model's folder.

    Args:
        add_bos_token: whether every text begins with the beginning-of-text token; None to do as the tokenizer does.

    Raises:
        UserError: it was not found, or cannot be used.
    """
    if name == "byte":
        return _byte_tokenizer(add_bos_token)
    folder = local_copy(name, "model.tokenizer (--tokenizer)") if name else model_folder
    assert folder is not None, "the configuration names a tokenizer or a model"
    config = folder / CONFIG_FILE
    beginning = read_beginning(config, CONFIG_BYTES) if config.exists() else b""
    if b"ByteTokenizer" in beginning:
        return _byte_tokenizer(add_bos_token, parse_json(beginning).get("chat_template"))
    return HuggingFaceTokenizer(folder, add_bos_token)


def _byte_tokenizer(add_bos_token: bool | None, chat_template: str | None = None) -> ByteTokenizer:
    if add_bos_token:
        raise UserError("data.add_bos_token is true, but --tokenizer byte has no beginning-of-text token.")
    return ByteTokenizer(chat_template)
