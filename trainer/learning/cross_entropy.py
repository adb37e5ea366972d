"""Cross-entropy of an output layer, without materializing all its logits.

Logits are computed for a chunk of tokens at a time, and their gradient right away: they are neither stored for the backward
pass nor recomputed in it. So memory grows with the vocabulary and with the sequence, not with their product. Tokens without a
target, such as the prompts of conversations, are left out.

`torch.nn.functional.linear_cross_entropy` (torch 2.13) works in the same way, but in bfloat16 it rounds the loss itself
(0.3% off), and it takes 3 times as long on a CPU, where it converts the operands of its products to float32.

Shapes: N tokens, width D, over a vocabulary of V; n tokens in a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from trainer.data import IGNORED

# Logits in a chunk: 80 MB and 256 MB in float32, half of that in 16 bits; and in a few rows of it for which the softmax is
# computed in float32: on a CPU 8 MB, so that they stay in its cache.
CHUNKS = {"cpu": (20 << 20, 2 << 20), "cuda": (64 << 20, 16 << 20)}
# Tokens in a chunk: with fewer, accumulating the weight's gradient takes longer than its product
FEWEST_TOKENS = 128
# The rows of a chunk begin at multiples of this many elements. Without alignment, the product for V = 50257 takes 1.4 times as
# long (one thread of an AMD EPYC, float32, torch 2.13).
ALIGNMENT = 32
FLOAT16_SCALE = 2.0**12  # keeps gradients of about 1 / V within the range of float16


@contextmanager
def chunks_as_on(device: torch.device) -> Iterator[None]:
    """While entered, chunks on the CPU have the size of those on a device, for an estimate of its memory."""
    before = CHUNKS["cpu"]
    CHUNKS["cpu"] = CHUNKS.get(device.type, CHUNKS["cuda"])
    try:
        yield
    finally:
        CHUNKS["cpu"] = before


@dataclass(frozen=True)
class Head:
    """The map from hidden states to logits: softcap(scale * (hidden @ weight.T + bias)).

    Attributes:
        weight, bias: (V, D) and (V,).
        softcap: c in c * tanh(x / c), which keeps logits below c; None leaves them unchanged.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None


def summed_cross_entropy(hidden: Tensor, head: Head | None, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum of the tokens' cross-entropies in nats: (), float32. It can be backpropagated once.

    Args:
        hidden: (..., D).
        head: None if `hidden` already holds the final logits (..., V).
        targets: (...); IGNORED for tokens without a target.
        dtype: of the matrix products. Softmax, loss and gradient sums are always in float32.
    """
    if head is None:
        return F.cross_entropy(
            hidden.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
    if not torch.is_grad_enabled():
        return score(hidden, head, targets, dtype)[0]
    loss: Tensor = _SummedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, -2), head.weight, head.bias, targets.flatten(), head.scale, head.softcap, dtype
    )
    return loss


def token_cross_entropies(hidden: Tensor, head: Head | None, targets: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the cross-entropy of each token in nats, like `targets`, float32; 0 for tokens without a target.

    For losses whose gradient is known only when all cross-entropies are: the backward pass recomputes the logits, chunk by
    chunk. The arguments are those of `summed_cross_entropy`.
    """
    if head is None:
        nats = F.cross_entropy(
            hidden.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
    else:
        nats = _TokenCrossEntropies.apply(  # type: ignore[no-untyped-call]
            hidden.flatten(0, -2), head.weight, head.bias, targets.flatten(), head.scale, head.softcap, dtype
        )
    return nats.view(targets.shape)


@torch.no_grad()
def score(hidden: Tensor, head: Head | None, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the sum of cross-entropies, (), and the number of targets with the largest logit, () int64.

    The arguments are those of `summed_cross_entropy`.
    """
    if head is None:
        return summed_cross_entropy(hidden, None, targets, dtype), (hidden.argmax(-1) == targets).sum()
    with torch.autocast(hidden.device.type, enabled=False):
        chunks = _Chunks(hidden.flatten(0, -2), head, targets.flatten(), dtype)
        nats = chunks.wide.new_zeros(())
        correct = torch.zeros((), dtype=torch.int64, device=hidden.device)
        for chunk in chunks:
            for part in chunk.parts:
                correct += (part.logits.argmax(1) == part.targets).sum()
                nats += part.nats_then_softmax().sum()
    return nats, correct


@dataclass(frozen=True)
class _Part:
    """A few rows of a chunk.

    Attributes:
        rows: their place among the n tokens with a target.
        product: (m, V) the rows of the chunk's product.
        logits: (m, V) in float32, or in the dtype of products if that is wider. Scratch memory: it may be overwritten, and
            it is `product`, or is reused for the next part.
        targets: (m,)
    """

    rows: slice
    product: Tensor
    logits: Tensor
    targets: Tensor

    def nats_then_softmax(self) -> Tensor:
        """Return the cross-entropies, (m,), and replace `logits` by their softmax."""
        # logsumexp(x) = max(x) - log(max(softmax(x))): the softmax is needed anyway, and a maximum is cheap.
        highest, chosen = self.logits.amax(1), self.logits.gather(1, self.targets[:, None])[:, 0]
        torch.softmax(self.logits, 1, out=self.logits)
        return highest - self.logits.amax(1).log() - chosen


@dataclass(frozen=True)
class _Chunk:
    """Tokens whose logits are computed together.

    Attributes:
        places: of the tokens among all N, with or without a target.
        hidden: (m, D) in the dtype of products.
        product: (m, V) hidden @ weight.T, in the memory of the previous chunk.
        parts: can be iterated once.
    """

    places: slice | Tensor
    hidden: Tensor
    product: Tensor
    parts: Iterator[_Part]


class _Chunks:
    """Iterates over the n tokens with a target, chunk by chunk."""

    def __init__(self, hidden: Tensor, head: Head, targets: Tensor, dtype: torch.dtype) -> None:
        self.places = _with_target(targets)
        self.targets = self.of_targets(targets)
        self.hidden = self.of_targets(hidden.detach()).to(dtype)
        self.weight = head.weight.detach().to(dtype)
        self.head = head
        vocabulary, wide = len(self.weight), torch.promote_types(dtype, torch.float32)
        together, in_softmax = CHUNKS.get(hidden.device.type, CHUNKS["cuda"])
        size = max(1, min(len(self.hidden), max(FEWEST_TOKENS, together // vocabulary)))
        few = min(size, max(1, in_softmax // vocabulary))
        aligned = -(-vocabulary // ALIGNMENT) * ALIGNMENT
        self.product = self.hidden.new_empty(size, aligned)[:, :vocabulary]
        # The softmax is computed in place if it can be.
        self.in_place = wide == dtype and aligned == vocabulary
        self.wide = (
            self.product[:few] if self.in_place else self.hidden.new_empty(few, vocabulary, dtype=wide)
        )

    def of_targets(self, values: Tensor) -> Tensor:
        """The rows of (N, ...) values that belong to tokens with a target: (n, ...)."""
        return values if self.places is None else values[self.places]

    def __iter__(self) -> Iterator[_Chunk]:
        for first in range(0, len(self.hidden), len(self.product)):
            rows = slice(first, first + len(self.product))
            hidden = self.hidden[rows]
            product = self.product[: len(hidden)]
            torch.mm(hidden, self.weight.t(), out=product)
            places = rows if self.places is None else self.places[rows]
            yield _Chunk(places, hidden, product, self._parts(product, first))

    def _parts(self, product: Tensor, begin: int) -> Iterator[_Part]:
        head = self.head
        for first in range(0, len(product), len(self.wide)):
            row = product[first : first + len(self.wide)]
            logits = row if self.in_place else self.wide[: len(row)].copy_(row)
            if head.bias is not None:
                logits += head.bias.detach()
            if head.scale != 1:
                logits *= head.scale
            if head.softcap:
                logits.div_(head.softcap).tanh_().mul_(head.softcap)
            rows = slice(begin + first, begin + first + len(row))
            yield _Part(rows, row, logits, self.targets[rows])


def _with_target(targets: Tensor) -> Tensor | None:
    """The places of tokens with a target; None if all have one, as in an estimate of memory, whose tensors have no data."""
    if isinstance(targets, FakeTensor):
        return None
    places = (targets != IGNORED).nonzero()[:, 0]
    return None if len(places) == len(targets) else places


def _loss_and_gradients(
    chunks: _Chunks, inputs: tuple[Tensor | None, ...], factors: Tensor | None = None
) -> tuple[Tensor, list[Tensor | None]]:
    """The summed cross-entropy, and its gradients.

    Args:
        inputs: hidden states, weight and bias; None for those whose gradient is not needed.
        factors: (n,) of the cross-entropies in the sum; None for 1.
    """
    head, dtype = chunks.head, chunks.hidden.dtype
    loss = chunks.wide.new_zeros(())
    of_hidden, of_weight, of_bias = (None if x is None else chunks.wide.new_zeros(x.shape) for x in inputs)
    enlarged = FLOAT16_SCALE if dtype == torch.float16 else 1.0  # undone after the products
    for chunk in chunks:
        for part in chunk.parts:
            slope = 1 - (part.logits / head.softcap) ** 2 if head.softcap else None
            loss += part.nats_then_softmax().sum()
            gradient, column = part.logits, part.targets[:, None]
            gradient.scatter_add_(1, column, gradient.new_full(column.shape, -1))
            if factors is not None:
                gradient *= factors[part.rows, None]
            if slope is not None:
                gradient *= slope
            if of_bias is not None:
                of_bias.add_(gradient.sum(0), alpha=head.scale)
            if enlarged != 1:
                gradient *= enlarged
            if not chunks.in_place:
                part.product.copy_(gradient)
        # `chunk.product` now holds the gradient of the logits.
        if of_hidden is not None:
            rows = of_hidden[chunk.places]  # a copy if the places are indices
            _add_product(rows, chunk.product, chunks.weight, head.scale / enlarged)
            if isinstance(chunk.places, Tensor):
                of_hidden[chunk.places] = rows
        if of_weight is not None:
            _add_product(of_weight, chunk.product.t(), chunk.hidden, head.scale / enlarged)
    gradients = zip((of_hidden, of_weight, of_bias), inputs, strict=True)
    return loss, [None if x is None or of is None else x.to(of.dtype) for x, of in gradients]


def _wanted(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
    """The inputs whose gradient is needed; None for the others."""
    return tuple(x if wanted else None for x, wanted in zip(inputs, ctx.needs_input_grad, strict=False))


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        dtype: torch.dtype,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            chunks = _Chunks(hidden, Head(weight, bias, scale, softcap), targets, dtype)
            loss, ctx.gradients = _loss_and_gradients(chunks, _wanted(ctx, hidden, weight, bias))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.gradients
        del ctx.gradients  # they are modified in place, so they can be used only once
        return (*(x if x is None else x.mul_(of_loss) for x in gradients), None, None, None, None)


class _TokenCrossEntropies(torch.autograd.Function):
    """Computes the gradients in the backward pass, where the factors of the cross-entropies are known."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.scale, ctx.softcap, ctx.dtype = scale, softcap, dtype
        with torch.autocast(hidden.device.type, enabled=False):
            chunks = _Chunks(hidden, Head(weight, bias, scale, softcap), targets, dtype)
            nats = chunks.wide.new_zeros(targets.shape)
            for chunk in chunks:
                nats[chunk.places] = torch.cat([part.nats_then_softmax() for part in chunk.parts])
        return nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_nats: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        with torch.autocast(hidden.device.type, enabled=False):
            chunks = _Chunks(hidden, Head(weight, bias, ctx.scale, ctx.softcap), targets, ctx.dtype)
            # In proportion to the largest: products in float16 would overflow with those of a gradient scaler.
            largest = of_nats.abs().amax().clamp_min(torch.finfo(of_nats.dtype).tiny)
            factors = chunks.of_targets(of_nats) / largest
            _, gradients = _loss_and_gradients(chunks, _wanted(ctx, hidden, weight, bias), factors)
        return (*(x if x is None else x.mul_(largest) for x in gradients), None, None, None, None)


def _add_product(total: Tensor, a: Tensor, b: Tensor, factor: float) -> None:
    """total += factor * (a @ b), where total has the same or a wider dtype."""
    if a.dtype == total.dtype:
        total.addmm_(a, b, alpha=factor)
    elif a.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # torch 2.8
        total.add_(torch.mm(a, b, out_dtype=total.dtype), alpha=factor)
    elif a.dtype == torch.float16:  # the sum may overflow in float16
        total.addmm_(a.to(total.dtype), b.to(total.dtype), alpha=factor)
    else:
        total.add_(a @ b, alpha=factor)
