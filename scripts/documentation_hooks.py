"""What mkdocs does while it builds the pages, besides converting them. mkdocs.yml names this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from doctor.check import GROUPS
from doctor.checks import CHECKS

CODE = re.compile(r"<code>[^<]*</code>|<pre>.*?</pre>", re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]{,24}(?![\w-])")
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
MANY = 6  # columns that have to be narrow
NAME = re.compile(
    r"<td>(<code>[^<]{1,24}</code>)</td>"
)  # of a command, an option or a file: it stays in one line
BOX = '<div class="table" role="group" aria-label="Table" tabindex="0">'
SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'
FROM_ELSEWHERE = re.compile(r"https://unpkg\.com/[\w@./-]+")


def on_config(config: dict[str, Any]) -> dict[str, Any]:
    """Add the pages of the checks, by group, to the section "Checks"."""
    entries = (entry for tab in config["nav"] for entry in next(iter(tab.values())))
    (section,) = (entry["Checks"] for entry in entries if "Checks" in entry)
    for group, name in GROUPS.items():
        section.append({name: [{c.id: f"checks/{c.id}.md"} for c in CHECKS if c.group == group]})
    return config


def on_page_content(html: str, **_: object) -> str:
    """Put each table into a box that scrolls, with the keyboard too, so that a wide table does not widen the page.

    The names of options are marked, so that no line ends after one of their hyphens.
    """
    return CODE.sub(
        lambda code: OPTION.sub(r'<span class="option">\g<0></span>', code[0]), TABLE.sub(_boxed, html)
    )


def _boxed(table: re.Match[str]) -> str:
    kind = "data many" if table[0].count("</th>") >= MANY else "data"
    rows = NAME.sub(r'<td class="name">\1</td>', table[0]).removeprefix("<table>")
    return f'{BOX}<table class="{kind}">{rows}</div>'


def on_post_page(output: str, **_: object) -> str:
    """Name the search dialog for screen readers, which the theme does not do."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')


def on_post_build(config: dict[str, Any]) -> None:
    """Remove the addresses from which the theme would load scripts for what no page uses, such as diagrams."""
    for source_map in Path(config["site_dir"]).rglob("*.map"):
        source_map.unlink()
    for script in Path(config["site_dir"], "assets", "javascripts").glob("*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(FROM_ELSEWHERE.sub("", text), encoding="utf-8", newline="\n")
