"""A key-value cache that is fixed in size in layers with a window.

Its layers are layers of transformers' own `Cache`, so transformers' models accept it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicLayer
from transformers.cache_utils import CacheLayerMixin

from trainer.attention.pattern import layer_windows

CacheLayer: Any = CacheLayerMixin  # its types allow keys and values to be None
GrowingLayer: Any = DynamicLayer
EXTRA_SLOTS = 128  # at most, in addition to the window


def make_cache(config: Any) -> Cache:
    """An empty cache for a model of this configuration: layers with a window have a fixed size, the others grow.

    If layers run more than once, `config.cache_layers` lists the layer of each entry of the cache.
    """
    windows = layer_windows(config)
    entries = [windows[layer] for layer in getattr(config, "cache_layers", range(len(windows)))]
    return Cache(layers=[SlidingLayer(window) if window else GrowingLayer() for window in entries])


def bytes_of(cache: Cache) -> int:
    """The memory of a cache: of the slots that it has, not only of those in use."""
    layers: list[Any] = [*cache.layers]
    kept = [tensor for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None]
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)


def cache_argument(model: Any) -> str:
    """The name of a model's argument for the cache: `cache` since transformers 5.24, which drops the old name in 5.40."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class SlidingLayer(CacheLayer):  # type: ignore[misc]
    """The keys and values of the last tokens, in a fixed number of slots.

    New ones are written after the others. When no slot is left, those that the next query still sees move to the front:
    once in `EXTRA_SLOTS` steps. A strict ring buffer would never move them, but its keys are in two pieces, out of order,
    so every step would copy all of them into one tensor.

    Args:
        sliding_window: W, tokens that a query sees, including itself.
    """

    is_sliding = True

    def __init__(self, sliding_window: int) -> None:
        super().__init__()
        self.sliding_window = sliding_window
        self.slots = sliding_window - 1 + min(sliding_window, EXTRA_SLOTS)
        self.cumulative_length = 0  # tokens so far; transformers' `reset` uses this name
        self.end = 0  # the first slot after the newest token

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the slots, for keys and values like these (B, H_kv, any, D)."""
        batch, heads, _, width = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(batch, heads, self.slots, width)
        self.values = value_states.new_empty(batch, heads, self.slots, value_states.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store new tokens (B, H_kv, T, D); returns what they see, in order: the last W - 1 before them, and themselves.

        If all new tokens have a slot, the result is a view, valid until the next call.
        """
        if not self.is_initialized or self._has_other_rows(key_states):
            self.lazy_initialization(key_states, value_states)
        new, past = key_states.shape[2], self._past()
        self.cumulative_length += new
        if self.end + new <= self.slots:
            self.keys[:, :, self.end : self.end + new] = key_states
            self.values[:, :, self.end : self.end + new] = value_states
            self.end += new
            seen = slice(self.end - new - past, self.end)
            return self.keys[:, :, seen], self.values[:, :, seen]
        seen = slice(self.end - past, self.end)
        keys = torch.cat([self.keys[:, :, seen], key_states], dim=2)
        values = torch.cat([self.values[:, :, seen], value_states], dim=2)
        self.end = self._past()
        self.keys[:, :, : self.end] = keys[:, :, keys.shape[2] - self.end :]
        self.values[:, :, : self.end] = values[:, :, values.shape[2] - self.end :]
        return keys, values

    def get_seq_length(self) -> int:
        """Tokens so far."""
        return self.cumulative_length

    def get_max_length(self) -> int:
        """Tokens that the next query may see."""
        return self.sliding_window

    get_max_cache_shape = get_max_length  # the name in transformers before 5.9

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The number of keys that this many new tokens get from `update`, and the position of the first."""
        past = self._past()
        return past + query_length, self.cumulative_length - past

    def reset(self) -> None:
        """Forget all tokens. The slots stay allocated, for the same number of rows."""
        super().reset()
        self.end = 0

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the newest tokens, as assisted decoding does with those that were not accepted.

        Args:
            tokens_to_remove: their number, negative, as transformers passes it.

        Raises:
            ValueError: a positive number; or the next query would see tokens that are no longer stored.
        """
        if tokens_to_remove > 0:
            raise ValueError(
                f"crop takes the number of tokens to remove as a negative number, got {tokens_to_remove}"
            )
        length = max(self.cumulative_length + tokens_to_remove, 0)
        end = self.end - (self.cumulative_length - length)
        if end < min(length, self.sliding_window - 1):
            raise ValueError(
                f"cannot remove {-tokens_to_remove} tokens from a cache with a window of {self.sliding_window}: it no longer "
                "stores all tokens that the next one attends to"
            )
        self.cumulative_length, self.end = length, end

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row of the batch."""
        if self.is_initialized:
            self.keys, self.values = (x.repeat_interleave(repeats, dim=0) for x in (self.keys, self.values))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows of the batch."""
        if self.is_initialized:
            self.keys, self.values = self.keys[indices], self.values[indices]

    def _has_other_rows(self, key_states: Tensor) -> bool:
        """Whether the cache is empty, and its slots are for another number of rows or heads."""
        return self.cumulative_length == 0 and self.keys.shape[:2] != key_states.shape[:2]

    def _past(self) -> int:
        """Number of stored tokens that the next one sees."""
        return min(self.cumulative_length, self.sliding_window - 1)
