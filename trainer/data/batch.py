"""Rows of tokens and their targets, as a model learns from them in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter

import torch
from torch import Tensor

IGNORED = -100  # the target of a position without one, as in torch's cross_entropy


@dataclass(frozen=True)
class Batch:
    """B rows of S tokens.

    Attributes:
        tokens: (B, S).
        targets: (B, S), the next token of each position, or IGNORED.
        document_ids: (B, S), or None if each row holds one document.
        pairs: each even row is a chosen answer, and the next row the rejected one.
    """

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor | None
    pairs: bool = False

    def to(self, device: torch.device) -> Batch:
        return self._changed(lambda tensor: tensor.to(device))

    def valid_tokens(self) -> int:
        return int((self.targets != IGNORED).sum())

    def weight(self) -> int:
        """What the loss is the mean of: the valid tokens, or the pairs that are not padding."""
        if not self.pairs:
            return self.valid_tokens()
        return int((self.targets[::2] != IGNORED).any(1).sum())

    def split(self, samples: int | None) -> list[Batch]:
        """Split into batches of at most `samples` rows, or pairs of rows; None does not split."""
        size = len(self.tokens) if samples is None else samples * (2 if self.pairs else 1)
        if size >= len(self.tokens):
            return [self]
        rows = [slice(first, first + size) for first in range(0, len(self.tokens), size)]
        return [self._changed(itemgetter(each)) for each in rows]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        ids = self.document_ids
        return replace(
            self,
            tokens=change(self.tokens),
            targets=change(self.targets),
            document_ids=ids if ids is None else change(ids),
        )
