"""The tokens of a text against the rows of a model's embedding: the ids that occur count, not the size of the tokenizer.

Gemma 3 1B has a tokenizer with one more token than the model has rows, for pictures; Llama 2 folders often have an added
padding token. Such tokens never occur in a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.errors import UserError
from trainer.models.tokenizer import Tokenizer

PART = 1 << 24  # tokens to look at in one go
SHOWN = 5  # tokens in a message


def rows(config: Any) -> int:
    """The number of tokens that a model has embeddings for."""
    return int(config.get_text_config().vocab_size)


def fit_padding(config: Any, tokenizer: Tokenizer) -> None:
    """Choose another padding token if the model has no row for the tokenizer's. Padding is never learned or attended to."""
    if tokenizer.pad_id >= rows(config):
        tokenizer.pad_id = int(tokenizer.end_id == 0)


def check(config: Any, tokenizer: Tokenizer, texts: Iterable[npt.NDArray[Any]], what: str) -> None:
    """Check that the model has a row for every token that occurs in these texts, and for the special tokens.

    Args:
        what: the texts, for the error message.

    Raises:
        UserError: it has none for some tokens.
    """
    limit = rows(config)
    if tokenizer.vocab_size <= limit:
        return
    unknown = {token for token in (tokenizer.end_id, *tokenizer.prefix) if token >= limit}
    for tokens in texts:
        for first in range(0, len(tokens), PART):
            part = tokens[first : first + PART]
            unknown.update(np.unique(part[part >= limit]).tolist())
    if unknown:
        shown = tokenizer.names(sorted(unknown)[:SHOWN]) + (", …" if len(unknown) > SHOWN else "")
        raise UserError(
            f"{what} contains {len(unknown)} tokens for which the model has no embedding: {shown}. The tokenizer has "
            f"{tokenizer.vocab_size} tokens, the model's vocabulary is {limit}. To continue a model, add rows for them with "
            "model.resize_token_embeddings: true (--resize-token-embeddings), or use the model's own tokenizer; a new "
            "model needs a larger vocab_size."
        )


def grow(network: Any, tokenizer: Tokenizer) -> list[str]:
    """Add the rows that the tokenizer's tokens need to a model's embedding and output layer. Returns notes about it."""
    before = rows(network.config)
    if tokenizer.vocab_size <= before:
        return []
    network.resize_token_embeddings(tokenizer.vocab_size)
    return [
        f"model.resize_token_embeddings: the vocabulary grew from {before} to {tokenizer.vocab_size} tokens."
    ]
