"""Write `wheels/catalogue.json` from lists of published wheels.

    python scripts/make_catalogue.py wheels.json wheels_linux.json --as-of 2026-11-20

The lists are JSON: objects with `filename`, `url`, `publisher` and, where known, `size`, `sha256`, `url_reconstructed`, wherever
they stand in the file; or a table with `columns` and `rows`. What a file's name says is not repeated in the catalogue.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from wheels.catalogue import Catalogue, Publisher  # noqa: E402
from wheels.filename import parse_wheel_name  # noqa: E402

PACKAGES = {"flash-attn", "flash-attn-3", "xformers", "triton-windows"}
PACKAGE_INDEX = "package index"
# Those who build for every release come first, then those who did, then lists of others' wheels
PREFERRED = ("Dao-AILab/flash-attention", "mjun0812/flash-attention-prebuild-wheels", PACKAGE_INDEX)


def listed(content: Any) -> Iterator[dict[str, Any]]:
    """Every wheel that a list names, in whatever depth."""
    if isinstance(content, list):
        for part in content:
            yield from listed(part)
    elif isinstance(content, dict) and "rows" in content:
        for row in content["rows"]:
            yield dict(zip(content["columns"], row, strict=True))
    elif isinstance(content, dict):
        if "filename" in content or "url" in content:
            yield content
        else:
            yield from listed(list(content.values()))


def place(url: str) -> tuple[str, str | None, str]:
    """Where a publisher's files lie, the folder below it, and the file's name."""
    address = unquote(url)
    for mark in ("/releases/download/", "/resolve/main/"):
        start, found, rest = address.partition(mark)
        if found:
            folder, _, name = rest.rpartition("/")
            return start + mark, folder or None, name
    start, _, name = address.rpartition("/")
    return start + "/", None, name


def publisher_of(download: str) -> str:
    """ "https://github.com/owner/repository/releases/download/" -> "owner/repository"."""
    host, path = urlsplit(download).netloc, urlsplit(download).path.strip("/")
    return "/".join(path.split("/")[:2]) if host in ("github.com", "huggingface.co") else host


def releases_of(download: str) -> str | None:
    """Where GitHub lists a repository's releases."""
    address = urlsplit(download)
    repository = "/".join(address.path.strip("/").split("/")[:2])
    return f"https://api.github.com/repos/{repository}/releases" if address.netloc == "github.com" else None


def make_catalogue(lists: list[Any], as_of: str) -> Catalogue:
    """One catalogue of all wheels in the lists that are of packages we serve, each address once."""
    found: dict[tuple[Publisher, str | None, str], tuple[int | None, str | None]] = {}
    for wheel in listed(lists):
        url = wheel.get("url")
        download, folder, name = place(url) if url else (None, None, str(wheel["filename"]))
        parsed = parse_wheel_name(name)
        if parsed is None or parsed.package not in PACKAGES or "ghproxy" in (download or ""):
            continue
        publisher = Publisher(
            id=publisher_of(download) if download else PACKAGE_INDEX,
            download=download,
            releases=releases_of(download) if download else None,
            confirmed=not wheel.get("url_reconstructed", False),
        )
        found.setdefault((publisher, folder, name), (wheel.get("size"), wheel.get("sha256")))

    def preference(publisher: Publisher) -> tuple[object, ...]:
        rank = PREFERRED.index(publisher.id) if publisher.id in PREFERRED else len(PREFERRED)
        return not publisher.confirmed, rank, -sum(key[0] == publisher for key in found), publisher.id

    publishers = sorted({key[0] for key in found}, key=preference)
    rows = sorted(
        (name, publishers.index(publisher), folder or "", size, sha256)
        for (publisher, folder, name), (size, sha256) in found.items()
    )
    return Catalogue.model_validate(
        {
            "as_of": as_of,
            "publishers": publishers,
            "wheels": [
                (name, rank, folder or None, size, sha256) for name, rank, folder, size, sha256 in rows
            ],
        }
    )


def to_json(catalogue: Catalogue) -> str:
    """One wheel a line: a change of the catalogue reads as a change of wheels."""
    content = catalogue.model_dump(mode="json", exclude_defaults=True) | {"schema_version": 1}
    rows = ",\n".join(json.dumps(row) for row in content.pop("wheels"))
    head = json.dumps({"schema_version": 1, **content}, indent=1)
    return head.removesuffix("\n}") + ',\n "wheels": [\n' + rows + "\n]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lists", nargs="+", type=Path)
    parser.add_argument("--as-of", required=True, help="the day on which the lists were read")
    arguments = parser.parse_args()
    lists = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.lists]
    text = to_json(make_catalogue(lists, arguments.as_of))
    (ROOT / "wheels" / "catalogue.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
