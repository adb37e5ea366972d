"""Escape characters that would control the terminal or hide other text."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    """Escape control characters, terminal sequences, bidirectional overrides and other invisible characters.

    Args:
        keep: characters to leave as they are, such as line feeds.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """As `visible`, for a text of several lines."""
    return visible(text, keep="\n\t")
