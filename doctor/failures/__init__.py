"""The known failures: a table of them, and what names the right ones from the log of a failed install, build or run."""
