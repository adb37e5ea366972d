"""Each language has every text, with the same values in it, and the pages use no text that is missing."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from gui.texts import LANGUAGES, TABLES, Words, preferred
from gui.texts.english import TEXTS

GUI = Path(__file__).parents[2] / "gui"


def values(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_with_its_values(language: str) -> None:
    table = TABLES[language]
    assert table.keys() == TEXTS.keys()
    assert {key: values(text) for key, text in table.items()} == {k: values(t) for k, t in TEXTS.items()}
    assert all(text.strip() for text in table.values())


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_a_translation_is_one(language: str) -> None:
    """Names such as LoRA are the same; whole sentences are not."""
    same = [key for key, text in TABLES[language].items() if text == TEXTS[key] and len(text.split()) > 3]
    assert same == []


def used() -> set[str]:
    """The texts that the pages name whole, in calls such as words("home.title")."""
    found = set()
    for path in GUI.rglob("*.py"):
        if "texts" not in path.parts:
            found |= set(re.findall(r'"((?:[a-z]+\.)[a-z_0-9-]+)"', path.read_text(encoding="utf-8")))
    return {key for key in found if key.split(".")[0] in {each.split(".")[0] for each in TEXTS}}


def test_no_page_names_a_text_that_is_missing() -> None:
    assert {"home.title", "run.stop"} <= used()
    assert used() - TEXTS.keys() <= {"output.txt"}


# Those whose keys are made of a part and a name
MADE = re.compile(
    r"(status|part|field|export|theme|nav|optimize|preview|fetch)\.|train\.(yes|no|default)$|run\.(finished|stopped|aborted)$"
    r"|runs\.(run|model|steps|state|loss|held_out|speed)$|install\.(package|installed|version|size|why)$"
    r"|chat\.(system|max-new-tokens|temperature|top-p|min-p|repetition-penalty)$"
)


def test_no_text_is_left_over() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in GUI.rglob("*.py") if "texts" not in p.parts)
    named = {key for key in TEXTS if f'"{key}"' in sources or f"'{key}'" in sources}
    assert [key for key in TEXTS if key not in named and not MADE.match(key)] == []


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr, zh-CN;q=0.5", "zh"),
        ("zh", "de", "zh"),
        ("<script>", "xx", "en"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_browsers(
    cookie: str | None, accepted: str, language: str
) -> None:
    assert preferred(cookie, accepted) == language


def test_a_missing_text_is_an_error() -> None:
    with pytest.raises(KeyError):
        Words()("no.such.text")
