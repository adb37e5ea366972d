"""The contents of `compatibility.json`, which names the source of each of its tables."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any


@cache
def table() -> dict[str, Any]:
    """Return the parsed file."""
    facts: dict[str, Any] = json.loads(
        Path(__file__).with_name("compatibility.json").read_text(encoding="utf-8")
    )
    return facts


@lru_cache(4096)
def numbers(text: str) -> tuple[int, ...]:
    """ "581.80" -> (581, 80)."""
    return tuple(int(part) for part in re.findall(r"\d+", text))
