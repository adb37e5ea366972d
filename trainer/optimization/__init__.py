"""Measures settings of a training run on this machine, and recommends those with the most tokens per second."""
