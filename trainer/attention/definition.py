"""The definition of which keys a query sees, followed by every backend."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_window(window: int | None, key_length: int) -> int | None:
    """The window, or None if it includes every key. Raises ValueError if it is negative."""
    if window is None or window == 0:
        return None
    if window < 0:
        raise ValueError(f"window must not be negative, got {window}; use None or 0 for no window")
    return None if window >= key_length else window


def check_document_ids(document_ids: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless document_ids are integers of this shape."""
    if tuple(document_ids.shape) != shape or document_ids.is_floating_point():
        raise ValueError(
            f"document_ids must be integers of shape {shape}, one per key, "
            f"got {document_ids.dtype} of shape {tuple(document_ids.shape)}"
        )


def mask(
    query_length: int, key_length: int, window: int | None = None, document_ids: Tensor | None = None
) -> Tensor:
    """The definition as a table, for tests and for reading.

    Args:
        query_length, key_length: S_q and S_k; the queries are the last S_q of the S_k positions.
        window: keys that a query sees, including its own; None or 0 for all.
        document_ids: (B, S_k) integers; a query sees keys of its own document only.

    Returns:
        bool (S_q, S_k), or (B, S_q, S_k) with document_ids; True if the query sees the key.
    """
    if not 1 <= query_length <= key_length:
        raise ValueError(f"need 1 <= query_length <= key_length, got {query_length} and {key_length}")
    device = None if document_ids is None else document_ids.device
    window = effective_window(window, key_length)
    i = torch.arange(key_length - query_length, key_length, device=device)[:, None]
    j = torch.arange(key_length, device=device)
    sees = j <= i
    if window is not None:
        sees &= i - j < window
    if document_ids is None:
        return sees
    check_document_ids(document_ids, (document_ids.shape[0], key_length))
    return sees & (document_ids[:, -query_length:, None] == document_ids[:, None, :])
