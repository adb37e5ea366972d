"""The table of known failures, and the search for them in the log of a failed install, build or training run."""
