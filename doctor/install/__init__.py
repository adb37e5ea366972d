"""`aios install`: the right torch, flash-attn, xformers and Triton for this machine, verified, undoable."""
