"""The commands of the trainer. torch is imported when one begins, so `--help` is quick."""
