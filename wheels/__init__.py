"""Which torch, flash-attn, xformers and triton fit which machine: data and the pure functions that read it."""
