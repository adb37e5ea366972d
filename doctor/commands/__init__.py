"""The commands `aios doctor` (one subcommand a file, put together by `app`), `aios install` and `aios wheels`."""
