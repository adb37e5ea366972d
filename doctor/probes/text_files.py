"""Text files of the machine that is looked at."""

from __future__ import annotations

import re

from doctor.host import Found, Host, Reading


def read_text(host: Host, path: str) -> Reading[str]:
    """A file's text: what is no UTF-8 in it becomes question marks, and line ends become newlines."""
    content = host.read_file(path)
    if not isinstance(content, Found):
        return content
    return Found(content.value.decode("utf-8", errors="replace").replace("\r\n", "\n"))


def stated_version(source: str) -> str | None:
    """The `__version__` in a Python file, which is not run."""
    match = re.search(r"^__version__\b[^=]*=\s*['\"]([^'\"]+)['\"]", source, re.MULTILINE)
    return match.group(1) if match else None
