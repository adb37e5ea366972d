"""The keys and values that a chunk of a sequence takes over from the chunks before it, and their gradients.

A sequence of S tokens is computed in chunks of C. In each layer the queries of a chunk see the keys of the chunk and as many
keys before it as the window allows. A `Carry` stores these, after rotary embedding, so positions are absolute. It is a
`Cache` of transformers: models read their positions from it. `attention` itself prepends the stored keys, so that models
which drop their cache under gradient checkpointing work, too. Prepending changes nothing if it is repeated, as when a
checkpointed layer is recomputed.

In exact training, chunks run backward from the last to the first. The backward pass of a chunk adds the gradients of the
keys that it took over to those of the chunks that made them, which receive them in their own backward pass.

Shapes: B sequences, H key heads, D the width of a head.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from trainer.attention.memory_pool import Pool
from trainer.attention.pattern import layer_windows

CacheBase: Any = Cache
CacheLayer: Any = CacheLayerMixin  # its types allow keys and values to be None
KEYS, VALUES = 0, 1
# The carry of each `Carry.at` that is entered, the innermost last.
_current: list[Carry] = []


def current() -> Carry | None:
    """The carry of the chunk that is being computed, or recomputed in its backward pass."""
    return _current[-1] if _current else None


@contextmanager
def suspended() -> Iterator[None]:
    """While entered, models compute sequences that have nothing to do with the current chunk."""
    suspended, _current[:] = _current[:], []
    try:
        yield
    finally:
        _current[:] = suspended


class Carry(CacheBase):  # type: ignore[misc]
    """The keys and values of all chunks that a later chunk needs.

    Args:
        windows: of each entry; see `windows_of`.
        chunk_size: C.
        length: S.
        gradients: whether chunks pass gradients on to those before them.
        limit: the number of tokens that layers without a window take over; None for all.
        on_host: store in the host's memory.
    """

    def __init__(
        self,
        windows: Sequence[int | None],
        chunk_size: int,
        length: int,
        *,
        gradients: bool = False,
        limit: int | None = None,
        on_host: bool = False,
    ) -> None:
        self.chunk_size, self.length = chunk_size, length
        self.count = -(-length // chunk_size)
        reaches = [limit if window is None else window - 1 for window in windows]
        # Without a reference cycle, all is freed with the carry, and not when Python next looks for cycles.
        this: Carry = cast("Carry", weakref.proxy(self))
        how = (this, gradients, on_host)
        super().__init__(layers=[Whole(*how) if reach is None else Tails(*how, reach) for reach in reaches])
        self.chunk = 0

    @property
    def start(self) -> int:
        """The position of the first token of the current chunk."""
        return self.chunk * self.chunk_size

    @property
    def reach(self) -> int:
        """The number of chunks that a chunk takes tokens over from, in layers with a window."""
        return max((layer.chunks for layer in self.layers if isinstance(layer, Tails)), default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored keys and values, without their gradients."""
        total: int = sum(layer.nbytes for layer in self.layers)
        return total

    @property
    def device_bytes(self) -> int:
        """Bytes on the device of what is stored, with gradients that wait for their chunk."""
        total: int = sum(layer.device_bytes for layer in self.layers)
        return total

    @contextmanager
    def at(self, chunk: int) -> Iterator[None]:
        """While entered, models compute this chunk, or recompute it in its backward pass."""
        self.chunk = chunk
        _current.append(self)
        try:
            yield
        finally:
            _current.remove(self)

    def slice(self, chunk: int) -> slice:
        """The tokens of a chunk."""
        first = chunk * self.chunk_size
        return slice(first, min(first + self.chunk_size, self.length))

    def join(self, entry: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values (B, H, C, D) of a layer; returns them after those that the chunk takes over."""
        layer = self.layers[entry]
        join: Any = _Join.apply
        return join(keys, layer, KEYS), join(values, layer, VALUES)

    def forget(self, chunk: int) -> None:
        """Drop what layers with a window store of a chunk."""
        for layer in self.layers:
            layer.forget(chunk)


def windows_of(config: Any) -> list[int | None]:
    """The window of each entry of a carry. If layers run more than once, `config.cache_layers` lists their entries."""
    windows = layer_windows(config)
    return [windows[layer] for layer in getattr(config, "cache_layers", range(len(windows)))]


class _Join(torch.autograd.Function):
    """Prepends the stored keys or values of a layer to new ones, and stores these."""

    @staticmethod
    def forward(ctx: Any, new: Tensor, layer: Any, part: int) -> Tensor:
        ctx.layer, ctx.part, ctx.chunk = layer, part, layer.carry.chunk
        joined: Tensor = layer.join(part, ctx.chunk, new)
        return joined

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grads
        return ctx.layer.split(ctx.part, ctx.chunk, grad), None, None


class _Layer(CacheLayer):  # type: ignore[misc]
    """What transformers asks a layer of a cache: its positions. `update` stores nothing, since `Carry.join` does.

    Args:
        gradients: whether gradients are passed on to earlier chunks.
        on_host: store in the host's memory.
    """

    is_sliding = False

    def __init__(self, carry: Carry, gradients: bool, on_host: bool) -> None:
        super().__init__()
        self.carry, self.gradients, self.on_host = carry, gradients, on_host

    def past(self, chunk: int) -> int:
        """The number of tokens that a chunk takes over."""
        return chunk * self.carry.chunk_size

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.carry.start

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # the name in transformers before 5.9

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        past = self.past(self.carry.chunk)
        return past + query_length, self.carry.start - past

    def _empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Memory where the carry is stored. In an estimate, the host's memory is the device meta."""
        if isinstance(like, FakeTensor):
            return torch.empty(shape, dtype=like.dtype, device="meta" if self.on_host else like.device)
        elsewhere = self.on_host and like.device.type != "cpu"
        device = torch.device("cpu") if elsewhere else like.device
        return torch.empty(shape, dtype=like.dtype, device=device, pin_memory=elsewhere)


class Tails(_Layer):
    """A layer that sees a limited number of earlier tokens: stores the last tokens of each chunk.

    Args:
        reach: tokens before its first one that a chunk sees, W - 1.
    """

    is_sliding = True

    def __init__(self, carry: Carry, gradients: bool, on_host: bool, reach: int) -> None:
        super().__init__(carry, gradients, on_host)
        self.reach = reach
        self.chunks = -(-reach // carry.chunk_size)
        self._tails: tuple[dict[int, Tensor], ...] = ({}, {})
        self._pools = (Pool(), Pool())
        self._gradients: tuple[dict[int, Tensor], ...] = ({}, {})

    @property
    def nbytes(self) -> int:
        return sum(tail.nbytes for tails in self._tails for tail in tails.values())

    @property
    def device_bytes(self) -> int:
        waiting = sum(grad.nbytes for grads in self._gradients for grad in grads.values())
        return waiting + (0 if self.on_host else self.nbytes)

    def past(self, chunk: int) -> int:
        return min(self.reach, chunk * self.carry.chunk_size)

    def forget(self, chunk: int) -> None:
        for tails, pool in zip(self._tails, self._pools, strict=True):
            if chunk in tails:
                pool.give(tails.pop(chunk))

    def join(self, part: int, chunk: int, new: Tensor) -> Tensor:
        tails = self._tails[part]
        if self.reach and chunk not in tails and chunk < self.carry.count - 1:
            tail = new[:, :, -self.reach :].detach()
            tails[chunk] = self._pools[part].take(tail, self._empty)
            tails[chunk].copy_(tail, non_blocking=True)
        pieces = [
            tails[other][:, :, -length:].to(new.device, non_blocking=True)
            for other, length in self._pieces(chunk)
        ]
        return torch.cat([*pieces, new], dim=2) if pieces else new.view_as(new)

    def split(self, part: int, chunk: int, grad: Tensor) -> Tensor:
        """The gradient of the chunk's own tokens, from that of the joined ones, which later chunks have added to."""
        past, gradients = self.past(chunk), self._gradients[part]
        own = grad[:, :, past:]
        if not self.gradients:
            return own
        first = 0
        for other, length in self._pieces(chunk):
            tail = self._tails[part][other]
            if other not in gradients:
                gradients[other] = grad.new_zeros(tail.shape, dtype=_accurate(grad.dtype))
            gradients[other][:, :, -length:] += grad[:, :, first : first + length]
            first += length
        received = gradients.pop(chunk, None)
        if received is None:
            return own
        own = own.to(received.dtype, copy=True)
        own[:, :, -received.shape[2] :] += received
        return own.to(grad.dtype)

    def _pieces(self, chunk: int) -> Iterator[tuple[int, int]]:
        """The chunks that a chunk takes tokens over from, and how many of their last ones, in order."""
        left = self.past(chunk)
        for other in range(max(0, chunk - self.chunks), chunk):
            length = left - (chunk - 1 - other) * self.carry.chunk_size
            yield other, min(length, self.carry.chunk_size)


class Whole(_Layer):
    """A layer that sees all earlier tokens: stores all, in one tensor, of which attention gets a view."""

    def __init__(self, carry: Carry, gradients: bool, on_host: bool) -> None:
        super().__init__(carry, gradients, on_host)
        self._all: list[Tensor | None] = [None, None]
        self._gradients: list[Tensor | None] = [None, None]

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self._all if x is not None)

    @property
    def device_bytes(self) -> int:
        """0 if it is stored on the host, where its gradients are, too."""
        return 0 if self.on_host else self.nbytes + sum(x.nbytes for x in self._gradients if x is not None)

    def forget(self, chunk: int) -> None:
        """Do nothing: every later chunk sees the tokens of this one."""

    def join(self, part: int, chunk: int, new: Tensor) -> Tensor:
        place = self.carry.slice(chunk)
        stored = self._all[part]
        if stored is None:
            stored = self._empty((*new.shape[:2], self.carry.length, new.shape[3]), new)
            self._all[part] = stored
        stored[:, :, place].copy_(new.detach(), non_blocking=True)
        if stored.device == new.device:
            return stored[:, :, : place.stop]
        past = stored[:, :, : place.start].to(new.device, non_blocking=True)
        return torch.cat([past, new], dim=2)

    def split(self, part: int, chunk: int, grad: Tensor) -> Tensor:
        """As `Tails.split`."""
        place = self.carry.slice(chunk)
        own = grad[:, :, place.start :]
        if not self.gradients:
            return own
        received = self._gradients[part]
        if received is None:
            stored = self._all[part]
            assert stored is not None  # `join` came before
            received = torch.zeros(stored.shape, dtype=_accurate(grad.dtype), device=stored.device)
            self._gradients[part] = received
        received[:, :, : place.start] += grad[:, :, : place.start].to(received.device)
        return (own + received[:, :, place].to(own.device)).to(grad.dtype)


def _accurate(dtype: torch.dtype) -> torch.dtype:
    """The dtype that gradients of several chunks are summed in."""
    return torch.promote_types(dtype, torch.float32)
