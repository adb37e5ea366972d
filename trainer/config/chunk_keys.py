"""The keys of the training section for sequences that are computed in chunks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.section import Section

ChunkGradients = Literal["truncated", "exact"]


class ChunkKeys(Section):
    use_chunked_training: bool = Field(
        default=False,
        description="Compute sequences in chunks of chunk_size tokens, so that long ones need less memory. The loss stays "
        "that of the whole sequence.",
    )
    chunk_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=2048,
        description="Tokens in a chunk with use_chunked_training. Not --dataset-chunk-size, the number of samples loaded at "
        "a time. auto: the usual size for max_length and the memory of the device, or whole sequences if they are short.",
    )
    chunk_gradients: ChunkGradients = Field(
        default="truncated",
        description="truncated: gradients end at the start of a chunk. exact: gradients of the whole sequence, at the cost "
        "of a second forward pass.",
    )
    recompute_carries: bool = Field(
        default=False,
        description="With exact gradients, keep the keys and values of fewer chunks (the square root of their number) and "
        "recompute the others, at the cost of another forward pass.",
    )
    carry_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens before a chunk that its layers without a window see. Default: all. A smaller number cuts the "
        "context of these layers.",
    )
    cpu_offload: bool = Field(
        default=False,
        description="On a GPU, store the keys and values of earlier chunks in the host's memory.",
    )
    offload_activations: bool = Field(
        default=False,
        description="On a GPU, store activations in the host's memory until the backward pass; with gradient_checkpointing "
        "these are the inputs of the layers.",
    )

    @property
    def chunk_tokens(self) -> int:
        """chunk_size, after `recommended.resolve` has replaced auto."""
        assert self.chunk_size != "auto"
        return self.chunk_size
