"""A Hugging Face tokenizer from a local folder, and the prefix that it puts before each text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from doctor.bounded import UnreadableFileError, parse_json, read_json
from doctor.extras import how_to_install
from trainer import file_kinds
from trainer.errors import UserError
from trainer.models.decoding import StreamingDecoder
from trainer.models.hub import check_files, own_code

Tokens = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

CONFIG_FILE = "tokenizer_config.json"
FILES = (CONFIG_FILE, "tokenizer.json", "tokenizer.model", "special_tokens_map.json", "vocab.json")
MORE_FILES = ("merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "added_tokens.json")
PREFIX_KEY = "aios_prefix_ids"  # in CONFIG_FILE: the prefix that the model was trained with
_ANOTHER = "Complete the folder, or name another tokenizer with model.tokenizer (--tokenizer)."
# Texts before a piece of a document, so that it is not encoded as the start of a text. Of some tokenizers, the first one
# merges with the piece, or disappears.
SENTINELS = ("a", "\n", ".")
ENCODING = 2  # increased when the same tokenizer gives other tokens than before


class NotUtf8Error(UserError):
    """A text is not valid UTF-8."""

    def __init__(self, text: bytes, error: UnicodeDecodeError) -> None:
        super().__init__(
            f"The text is not UTF-8 ({error.reason} at byte {error.start}): {file_kinds.not_utf8(text)}"
        )


class HuggingFaceTokenizer:
    """A tokenizer of the transformers library, read from a local folder.

    Args:
        add_bos_token: whether its beginning-of-text token is put before every text; None to do as the tokenizer does.

    Raises:
        UserError: it cannot be read, or lacks a token that is needed.
    """

    def __init__(self, folder: Path, add_bos_token: bool | None = None) -> None:
        self._tokenizer = _read(folder)
        if self._tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer in {folder} has no end-of-text token, so documents cannot be separated. Name one of its "
                f"tokens as eos_token in {CONFIG_FILE}, or another tokenizer with model.tokenizer (--tokenizer)."
            )
        saved = _saved_prefix(folder) if add_bos_token is None else None
        self.prefix = self._choose_prefix(add_bos_token, folder) if saved is None else saved
        self.vocab_size = len(self._tokenizer)
        self.end_id = int(self._tokenizer.eos_token_id)
        pad = self._tokenizer.pad_token_id
        self.padding_token = int(pad) if pad not in (None, self.end_id) else None
        # Padding is never a target, and no real token sees it, so any other id works.
        self.pad_id = int(self.end_id == 0) if self.padding_token is None else self.padding_token

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole tokenizer, or of its vocabulary if it cannot be serialized."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        vocabulary = sorted(self._tokenizer.get_vocab().items())
        whole = backend.to_str() if backend else json.dumps([type(self._tokenizer).__name__, vocabulary])
        return hashlib.sha256(json.dumps([ENCODING, self.prefix, whole]).encode("utf-8")).hexdigest()

    def encode(self, text: bytes) -> Tokens:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[bytes], continued: Sequence[bool] | None = None) -> list[Tokens]:
        continued = continued or [False] * len(texts)
        starts = self._ids(
            [_utf8(text) for text, goes_on in zip(texts, continued, strict=True) if not goes_on]
        )
        return [
            np.asarray(self._continuation(_utf8(text)) if goes_on else starts.pop(0), dtype=np.int32)
            for text, goes_on in zip(texts, continued, strict=True)
        ]

    def encode_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> list[tuple[Tokens, Mask]]:
        if not texts:
            return []
        if not self._tokenizer.is_fast:
            return [_encode_parts(self._ids, *each) for each in zip(texts, spans, strict=True)]
        encoded = self._tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], spans, strict=True)
        return [(np.asarray(ids, dtype=np.int32), _inside(offsets, its)) for ids, offsets, its in rows]

    @property
    def chat_templates(self) -> dict[str, str]:
        found = self._tokenizer.chat_template
        if isinstance(found, dict):
            return found if "default" in found else {}
        return {"default": found} if found else {}

    def use_chat_template(self, source: str) -> None:
        self._tokenizer.chat_template = source

    @property
    def template_variables(self) -> dict[str, str]:
        names = {
            key: str(value)
            for key, value in self._tokenizer.special_tokens_map.items()
            if isinstance(value, str)
        }
        begins = self.prefix and self._tokenizer.bos_token_id == self.prefix[0]
        return names | ({"begins": "yes"} if begins else {})

    @property
    def special_texts(self) -> tuple[str, ...]:
        return tuple(sorted({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()}))

    def decode(self, tokens: list[int], before: Sequence[int] = ()) -> bytes:
        decoder = self.decoder(before)
        # One call for all tokens: each token alone would take quadratic time.
        text = self._text([*decoder.context, *tokens])
        return text[len(self._text(decoder.context)) :].encode("utf-8")

    def decoder(self, before: Sequence[int] = ()) -> StreamingDecoder:
        return StreamingDecoder(self._text, before)

    def written(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode([*tokens], clean_up_tokenization_spaces=False))

    def names(self, tokens: Sequence[int]) -> str:
        return ", ".join(map(str, self._tokenizer.convert_ids_to_tokens([*tokens])))

    def save(self, folder: Path) -> None:
        self._tokenizer.save_pretrained(folder)
        path = folder / CONFIG_FILE
        config = read_json(path) | {PREFIX_KEY: self.prefix}
        text = json.dumps(config, indent=2, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8", newline="\n")

    def described(self) -> dict[str, Any]:
        """The content of tokenizer.json.

        Raises:
            UserError: the tokenizer is not one of the tokenizers package.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                f"The tokenizer {type(self._tokenizer).__name__} cannot be exported: it is not one of the tokenizers package."
            )
        described: dict[str, Any] = parse_json(backend.to_str())
        return described

    def special_ids(self) -> dict[str, int]:
        """The ids of the special tokens that have a name, such as bos_token."""
        named = self._tokenizer.special_tokens_map
        return {
            name: int(self._tokenizer.convert_tokens_to_ids(token))
            for name, token in named.items()
            if isinstance(token, str)
        }

    def _text(self, tokens: list[int]) -> str:
        # The cleanup of spaces would change text that has been returned, and is wrong for anything but plain English.
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _ids(self, texts: list[str], special: bool = False) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            texts, add_special_tokens=special, return_attention_mask=False, verbose=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _continuation(self, text: str) -> list[int]:
        """The token ids of a text that continues another one: those that it has after a sentinel."""
        for sentinel in SENTINELS:
            first, both = self._ids([sentinel, sentinel + text])
            if first and both[: len(first)] == first:
                return both[len(first) :]
        return self._ids([text])[0]

    def _own_prefix(self) -> tuple[int, ...]:
        """The tokens that the tokenizer itself puts in front of a text."""
        plain, whole = self._ids(["a"])[0], self._ids(["a"], special=True)[0]
        starts = range(len(whole) - len(plain) + 1)
        return tuple(next((whole[:i] for i in starts if whole[i : i + len(plain)] == plain), []))

    def _choose_prefix(self, wanted: bool | None, folder: Path) -> tuple[int, ...]:
        """The tokenizer's own prefix, or the one that `add_bos_token` asks for, which other programs then use as well."""
        own = self._own_prefix()
        if wanted is None or wanted == bool(own):
            return own
        bos = self._tokenizer.bos_token_id
        if wanted and bos is None:
            raise UserError(
                f"data.add_bos_token is true, but the tokenizer in {folder} has no beginning-of-text token. Leave "
                "data.add_bos_token (--add-bos-token) out."
            )
        self._tokenizer.add_bos_token = wanted
        return (int(bos),) if wanted else ()


def _inside(offsets: list[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> Mask:
    """Which tokens contain a character of the spans, by the (start, end) of each token."""
    inside = np.zeros(len(offsets), dtype=np.bool_)
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T
    for start, end in spans:
        # Also tokens without a character, such as the rest of a character in several tokens, if they are between these.
        first, last = np.flatnonzero(ends > start)[:1], np.flatnonzero(starts < end)[-1:]
        if len(first) and len(last):
            inside[first[0] : last[0] + 1] = True
    return inside


def _encode_parts(
    ids: Callable[[list[str]], list[list[int]]], text: str, spans: Sequence[tuple[int, int]]
) -> tuple[Tokens, Mask]:
    """Like `_inside`, for a tokenizer that does not tell the characters of its tokens: by the tokens of beginnings."""
    tokens = ids([text])[0]
    inside = np.zeros(len(tokens), dtype=np.bool_)
    for span in spans:
        first, last = (_common(ids([text[:end]])[0] if end else [], tokens) for end in span)
        inside[first : max(last, first)] = True
    return np.asarray(tokens, dtype=np.int32), inside


def _common(one: list[int], other: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _read(folder: Path) -> Any:
    from transformers import AutoTokenizer

    check_files(folder / name for name in (*FILES, *MORE_FILES))
    try:
        found: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # A tokenizer.json that the tokenizers package cannot read raises Exception itself.
    except Exception as error:
        raise UserError(
            f"No tokenizer could be read from {folder}: {_why_unreadable(folder, error)}"
        ) from error
    special = {*found.all_special_tokens, *found.get_added_vocab()}
    if special.issuperset(
        found.get_vocab()
    ):  # transformers makes an empty tokenizer of a folder without a vocabulary
        raise UserError(
            f"No tokenizer could be read from {folder}: it has no vocabulary. Looked for tokenizer.json, tokenizer.model and "
            f"vocab.json. {_ANOTHER}"
        )
    return found


def _why_unreadable(folder: Path, error: Exception) -> str:
    if code := own_code(folder, CONFIG_FILE):
        return (
            f"it brings its own code ({code}), and aios never runs code from a model folder. Name another tokenizer with "
            "model.tokenizer (--tokenizer)."
        )
    pieces = [file.name for file in folder.glob("*.model")]
    if pieces and not (folder / "tokenizer.json").exists() and not find_spec("sentencepiece"):
        return (
            f"{pieces[0]} needs the package sentencepiece, which is not installed. To install it:\n  "
            f"{how_to_install('sentencepiece', 'protobuf')}"
        )
    return f"{(str(error) or repr(error)).splitlines()[0]}. {_ANOTHER}"


def _saved_prefix(folder: Path) -> tuple[int, ...] | None:
    """The prefix that a checkpoint was trained with; None for the tokenizer of another program."""
    try:
        config = read_json(folder / CONFIG_FILE)
    except FileNotFoundError:
        return None
    except UnreadableFileError as error:
        raise UserError(f"{folder / CONFIG_FILE} cannot be read: {error}. {_ANOTHER}") from error
    except ValueError as error:
        raise UserError(f"{folder / CONFIG_FILE} is not valid JSON: {error}. {_ANOTHER}") from error
    return tuple(config[PREFIX_KEY]) if isinstance(config, dict) and PREFIX_KEY in config else None


def _utf8(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8Error(text, error) from None
