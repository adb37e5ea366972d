"""Write `wheels/catalogue.json` from lists of published wheels.

    python scripts/make_catalogue.py wheels.json wheels_linux.json --as-of 2026-11-20

The lists are JSON: objects with `filename`, `url` and optional `size`, `sha256`, `url_reconstructed` at any depth, or a table with
`columns` and `rows`. Files marked `known_bad` are left out. An object with `id` (a publisher's) and `listed_on` dates its list, and so does
`listed_on`, an object of such objects by id. A list may also be a catalogue, such as the one that `aios wheels refresh` writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wheels.catalogue import SHIPPED, Catalogue, to_json  # noqa: E402
from wheels.publisher_lists import ListedWheel, make_catalogue, merge  # noqa: E402


def listed(content: Any) -> Iterator[ListedWheel]:
    """Yield every wheel in a list, at any depth."""
    if isinstance(content, list):
        for part in content:
            yield from listed(part)
    elif isinstance(content, dict) and "rows" in content:
        for row in content["rows"]:
            yield from listed(dict(zip(content["columns"], row, strict=True)))
    elif isinstance(content, dict):
        url = content.get("url")
        name = unquote(url).rpartition("/")[2] if url else content.get("filename")
        if not name:
            yield from listed(list(content.values()))
        elif "ghproxy" not in (url or "") and not content.get("known_bad"):  # a proxy is not the publisher
            confirmed = not content.get("url_reconstructed", False)
            yield ListedWheel(name, url, content.get("size"), content.get("sha256"), confirmed)


def dates(content: Any) -> Iterator[tuple[str, str]]:
    """Yield publishers and the dates of their lists. "hf:" marks one on Hugging Face; an id may list several publishers."""
    if isinstance(content, list):
        for part in content:
            yield from dates(part)
    elif isinstance(content, dict):
        by_id = content.get("listed_on")
        if isinstance(by_id, dict):
            yield from dates([{"id": name, **entry} for name, entry in by_id.items()])
        elif by_id and "id" in content:
            for name in content["id"].split(", "):
                yield name.removeprefix("hf:"), by_id
        yield from dates([value for key, value in content.items() if key != "listed_on"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lists", nargs="+", type=Path)
    parser.add_argument("--as-of", required=True, help="the date on which the lists were read")
    parser.add_argument(
        "--output", type=Path, default=SHIPPED, help="the file to write (default: the shipped catalogue)"
    )
    arguments = parser.parse_args()
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.lists]
    wheels = (wheel for content in contents if "publishers" not in content for wheel in listed(content))
    known = sorted(date for content in contents if "publishers" not in content for date in dates(content))
    catalogue = make_catalogue(wheels, arguments.as_of, dict(known))  # the newest date of each comes last
    for content in contents:
        if "publishers" in content:
            catalogue = merge(catalogue, Catalogue.model_validate_json(json.dumps(content))).catalogue
    text = to_json(catalogue)
    arguments.output.write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{len(catalogue.wheels)} wheels, {len(text) / 1024:.0f} KiB\n")


if __name__ == "__main__":
    main()
