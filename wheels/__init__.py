"""Which builds of torch, flash-attn, xformers and Triton fit which machine: published facts and pure functions."""
