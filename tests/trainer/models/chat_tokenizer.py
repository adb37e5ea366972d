"""A small tokenizer with any chat template, whose special tokens are those that the template writes."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

SPECIAL = re.compile(
    "<[|\uff5c][^<>'\"{}]*?[|\uff5c]>" r"|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|\[gMASK\]|<sop>"
)


@lru_cache(maxsize=64)
def chat_tokenizer(template: str) -> Any:
    """A byte-level tokenizer of transformers: each byte is a token, except in special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer: Any = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = sorted({*SPECIAL.findall(template)} - {"<begin>", "<end>"})
    made: Any = PreTrainedTokenizerFast
    return made(
        tokenizer_object=tokenizer,
        bos_token="<begin>",
        eos_token="<end>",
        extra_special_tokens=special,
        chat_template=template,
    )


def save_chat_tokenizer(template: str, folder: Path) -> Path:
    """The folder, with the tokenizer in it."""
    chat_tokenizer(template).save_pretrained(folder)
    return folder
