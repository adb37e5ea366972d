"""A Windows CPython with PyTorch for Windows, on Linux under Debian's Wine. `docs/windows-under-wine.md` lists its limits."""
