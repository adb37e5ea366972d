"""The commands below `aios doctor`, one a file; `app` puts them together."""
