"""Diagnosis of a machine: what is wrong for training, why, and how to put it right. Never imports torch."""
