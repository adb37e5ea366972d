"""Text files of the examined machine."""

from __future__ import annotations

import re

from doctor.host import Found, Reader, Reading


def read_text(host: Reader, path: str) -> Reading[str]:
    """Return a file's text, with invalid UTF-8 replaced by U+FFFD and line ends by newlines."""
    content = host.read_file(path)
    if not isinstance(content, Found):
        return content
    return Found(content.value.decode("utf-8", errors="replace").replace("\r\n", "\n"))


def stated_version(source: str) -> str | None:
    """Return the `__version__` assigned in Python source, without running it."""
    match = re.search(r"^__version__\b[^=]*=\s*['\"]([^'\"]+)['\"]", source, re.MULTILINE)
    return match.group(1) if match else None
