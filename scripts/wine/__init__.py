"""A real Windows CPython with Windows PyTorch on Linux, under Debian's Wine. `docs/windows-under-wine.md` says what it is worth."""
