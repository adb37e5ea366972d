"""Keys and values of the tokens so far: in layers with a window, no more of them than it reaches.

They are layers of transformers' own `Cache`, so that its models take them as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicLayer
from transformers.cache_utils import CacheLayerMixin

from trainer.attention.pattern import layer_windows

CacheLayer: Any = CacheLayerMixin  # whose types allow every layer to hold nothing
Growing: Any = DynamicLayer
ROOM = 128  # slots beside the window, at most


def make_cache(config: Any) -> Cache:
    """An empty cache for a model of this configuration: fixed in size where a layer has a window, growing elsewhere.

    Where layers run more than once, the configuration says in `cache_layers` which layer each slot belongs to.
    """
    windows = layer_windows(config)
    slots = [windows[layer] for layer in getattr(config, "cache_layers", range(len(windows)))]
    return Cache(layers=[SlidingLayer(window) if window else Growing() for window in slots])


def cache_bytes(cache: Cache) -> int:
    """Memory that a cache's keys and values take."""
    layers: list[Any] = cache.layers
    tensors = [tensor for layer in layers for tensor in (layer.keys, layer.values) if tensor is not None]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


class SlidingLayer(CacheLayer):  # type: ignore[misc]
    """The keys and values of the last tokens, in a fixed number of slots.

    New ones are written behind the others. Where no slot is left, those that the next query still sees move to the front:
    one in `ROOM` steps does. In a ring in the strict sense nothing moves, but its keys lie in two pieces, out of order,
    and every step would copy all of them to put them side by side.

    Args:
        sliding_window: W, tokens that a query sees, itself among them.
    """

    is_sliding = True

    def __init__(self, sliding_window: int) -> None:
        super().__init__()
        self.sliding_window = sliding_window
        self.slots = sliding_window - 1 + min(sliding_window, ROOM)
        self.cumulative_length = 0  # tokens so far; transformers' own name, by which `reset` finds it
        self.end = 0  # the first slot behind the newest token

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the slots, for keys and values like these (B, H_kv, any, D)."""
        batch, heads, _, width = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(batch, heads, self.slots, width)
        self.values = value_states.new_empty(batch, heads, self.slots, value_states.shape[3])
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Take in new tokens (B, H_kv, T, D); returns what they see, in order: the last W - 1 before them, and themselves.

        Tokens that have a slot come back as a view, which is good until the next call.
        """
        if not self.is_initialized:
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
        """How many keys this many new tokens will be given, and the position of the first."""
        past = self._past()
        return past + query_length, self.cumulative_length - past

    def reset(self) -> None:
        """Forget all tokens; the slots stay."""
        super().reset()
        self.end = 0

    def _past(self) -> int:
        """Tokens before the next one that it sees."""
        return min(self.cumulative_length, self.sliding_window - 1)
