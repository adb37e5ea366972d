"""A tokenizer in the terms of llama.cpp: its tokens, their kinds, how they are merged, and the chat template."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from trainer.errors import UserError
from trainer.gguf_file.architectures import Metadata
from trainer.gguf_file.pre_tokenizers import pre_tokenizer
from trainer.models.huggingface_tokenizer import HuggingFaceTokenizer
from trainer.models.tokenizer import Tokenizer

SPACE = "\u2581"  # how SentencePiece writes a space
# llama.cpp's kinds of tokens
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
PHI_3 = re.compile("(phi)-?3", re.IGNORECASE)
UNREACHABLE = -1e6  # the score of a token that no merge makes


@dataclass
class _Tokens:
    texts: list[str]
    kinds: list[int]
    keys: Metadata = field(default_factory=dict)


def vocabulary(tokenizer: Tokenizer, rows: int) -> Metadata:
    """The keys of a tokenizer, with llama.cpp's prefix.

    Args:
        rows: of the model's embedding. Tokens beyond them are left out; rows without a token are unused tokens.

    Raises:
        UserError: llama.cpp cannot split texts as this tokenizer does.
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        tokens = _bytes(tokenizer)
    else:
        described = tokenizer.described()
        if described["model"]["type"] != "BPE":
            raise _unknown(f"a {described['model']['type']} model")
        tokens = _byte_level(described) if _is_byte_level(described) else _sentencepiece(described)
        tokens.keys |= _special(tokenizer)
        if templates := tokenizer.chat_templates:
            tokens.keys["chat_template"] = templates
    extra = rows - len(tokens.texts)
    if extra > 0:
        tokens.texts += [f"[PAD{i}]" for i in range(len(tokens.texts), rows)]
        tokens.kinds += [UNUSED] * extra
    keys = tokens.keys | {"ggml.tokens": tokens.texts[:rows], "ggml.token_type": tokens.kinds[:rows]}
    if "ggml.scores" in keys:
        keys["ggml.scores"] = (keys["ggml.scores"] + [UNREACHABLE] * max(extra, 0))[:rows]
    return {f"tokenizer.{key}": value for key, value in keys.items()}


def model_name(name: str, tokenizer: Tokenizer) -> str:
    """The name of a model, such that llama.cpp treats spaces after special tokens as the tokenizer does.

    llama.cpp has no key for it: it drops these spaces if the name contains "phi-3" or "phi3".
    """
    drops = isinstance(tokenizer, HuggingFaceTokenizer) and {
        token["content"] for token in tokenizer.described()["added_tokens"] if token["rstrip"]
    }
    if drops and drops.issuperset({"<|user|>", "<|end|>"}):
        return name if PHI_3.search(name) else f"{name} (phi-3)"
    return PHI_3.sub(r"\1_3", name)


def _bytes(tokenizer: Tokenizer) -> _Tokens:
    """The byte tokenizer, as a SentencePiece model without merges. llama.cpp turns a space into SPACE before it looks it up."""
    texts = [f"<0x{byte:02X}>" for byte in range(256)]
    texts[ord(" ")] = SPACE
    kinds = [BYTE] * 256
    kinds[ord(" ")] = NORMAL
    keys = _begins_and_ends(tokenizer) | {
        "ggml.model": "llama",
        "ggml.pre": "default",
        "ggml.add_space_prefix": False,
        "ggml.scores": [0.0] * 258,
        "ggml.padding_token_id": tokenizer.pad_id,
    }
    return _Tokens([*texts, "<|endoftext|>", "<|pad|>"], [*kinds, CONTROL, CONTROL], keys)


def _is_byte_level(described: dict[str, Any]) -> bool:
    return "ByteLevel" in json.dumps([described["pre_tokenizer"], described["decoder"]])


def _tokens(described: dict[str, Any]) -> _Tokens:
    vocabulary, added = described["model"]["vocab"], described["added_tokens"]
    size = 1 + max([*vocabulary.values(), *(token["id"] for token in added)])
    tokens = _Tokens([f"[PAD{i}]" for i in range(size)], [UNUSED] * size)
    for text, i in vocabulary.items():
        tokens.texts[i], tokens.kinds[i] = text, NORMAL
    for token in added:
        tokens.texts[token["id"]] = token["content"]
        tokens.kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    return tokens


def _byte_level(described: dict[str, Any]) -> _Tokens:
    """Byte-level BPE, as in GPT-2, Llama 3 and Qwen."""
    name = pre_tokenizer(described)
    if name is None:
        raise _unknown(f"these steps: {json.dumps([described['normalizer'], described['pre_tokenizer']])}")
    tokens = _tokens(described)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in described["model"]["merges"]]
    if not merges:
        raise _unknown("a byte-level vocabulary without merges")
    tokens.keys |= {"ggml.model": "gpt2", "ggml.pre": name, "ggml.merges": merges}
    return tokens


def _sentencepiece(described: dict[str, Any]) -> _Tokens:
    """BPE as in SentencePiece: Llama 2, Mistral and Gemma. llama.cpp merges the pair whose token has the highest score."""
    if not described["model"].get("byte_fallback") or SPACE not in json.dumps(
        [described["normalizer"], described["pre_tokenizer"]], ensure_ascii=False
    ):
        raise _unknown("BPE without bytes for unknown characters")
    tokens = _tokens(described)
    scores = [UNREACHABLE] * len(tokens.texts)
    ids = described["model"]["vocab"]
    for rank, pair in enumerate(described["model"]["merges"]):
        merged = ids["".join(pair) if isinstance(pair, list) else pair.replace(" ", "")]
        scores[merged] = max(scores[merged], -float(rank))
    for i, (text, kind) in enumerate(zip(tokens.texts, tokens.kinds, strict=True)):
        if kind == USER_DEFINED:
            tokens.texts[i] = text.replace(SPACE, " ")
        elif kind == NORMAL and len(text) == 6 and text.startswith("<0x"):
            tokens.kinds[i] = BYTE
    unknown = described["model"].get("unk_token")
    if unknown in ids:
        tokens.kinds[ids[unknown]] = UNKNOWN
        tokens.keys["ggml.unknown_token_id"] = ids[unknown]
    front = described["normalizer"], described["pre_tokenizer"]
    tokens.keys |= {
        "ggml.model": "llama",
        "ggml.pre": "default",
        "ggml.scores": scores,
        "ggml.add_space_prefix": any(_puts_space_in_front(step) for part in front for step in _steps(part)),
    }
    return tokens


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer."""
    if part is None:
        return []
    steps: list[dict[str, Any]] = part.get("normalizers") or part.get("pretokenizers") or [part]
    return steps


def _puts_space_in_front(step: dict[str, Any]) -> bool:
    scheme = step.get("prepend_scheme", "always")
    return bool(step["type"] == "Prepend" or (step["type"] == "Metaspace" and scheme != "never"))


def _begins_and_ends(tokenizer: Tokenizer) -> Metadata:
    keys: Metadata = {
        "ggml.eos_token_id": tokenizer.end_id,
        "ggml.add_bos_token": bool(tokenizer.prefix),
        "ggml.add_eos_token": False,
        "ggml.bos_token_id": tokenizer.prefix[0] if tokenizer.prefix else tokenizer.end_id,
    }
    if len(tokenizer.prefix) > 1:
        raise _unknown(f"{len(tokenizer.prefix)} tokens before every text")
    return keys


def _special(tokenizer: HuggingFaceTokenizer) -> Metadata:
    keys = _begins_and_ends(tokenizer)
    named = tokenizer.special_ids()
    if not tokenizer.prefix and named.get("bos_token") is not None:
        keys["ggml.bos_token_id"] = named["bos_token"]
    if named.get("unk_token") is not None:
        keys["ggml.unknown_token_id"] = named["unk_token"]
    if tokenizer.padding_token is not None:
        keys["ggml.padding_token_id"] = tokenizer.padding_token
    return keys


def _unknown(what: str) -> UserError:
    return UserError(
        f"--gguf: the model's tokenizer has {what}, which llama.cpp does not have, so that it would read other tokens than the "
        "model was trained with."
    )
