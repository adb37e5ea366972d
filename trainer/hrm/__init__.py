"""HRM ACT v1: the hierarchical reasoning model with adaptive computation time, as a causal language model."""
