"""The texts of the pages in each language. What a command prints stays in English, as on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from gui.texts import chinese, english, german

LANGUAGES = {"en": "English", "de": "Deutsch", "zh": "中文"}
TABLES = {"en": english.TEXTS, "de": german.TEXTS, "zh": chinese.TEXTS}


@dataclass(frozen=True)
class Words:
    """The texts of one language."""

    language: str = "en"

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key. Raises KeyError for a key that the table lacks."""
        return TABLES[self.language][key].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is a text for a key."""
        return key in TABLES[self.language]


def preferred(cookie: str | None, accepted: str) -> str:
    """The language to show: the chosen one, else the first that the browser accepts and that there is, else English."""
    if cookie in LANGUAGES:
        return str(cookie)
    for part in accepted.split(","):
        name = part.partition(";")[0].strip().lower().partition("-")[0]
        if name in LANGUAGES:
            return name
    return "en"
