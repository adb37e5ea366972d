"""`aios install`: install the torch, flash-attn, xformers and Triton that fit this machine; verify; undo."""
