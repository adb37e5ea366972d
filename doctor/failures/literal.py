"""What must stand in a text for a pattern to match: looking for that first makes a long log quick to read."""

from __future__ import annotations

import re

PART = re.compile(
    r"""(?P<open>\() | (?P<close>\)) | \[\^?\]?(?:\\.|[^\]\\])*\]
    | \\(?P<escaped>.) | (?P<repeat>[*?]|\{[^}]*\}) | (?P<other>.)""",
    re.VERBOSE,
)


def literal(pattern: str) -> str:
    """The longest run of characters that every match of `pattern` contains, outside of its groups.

    Raises:
        ValueError: `pattern` has alternatives that are not in a group.
    """
    runs, depth = [""], 0
    for part in PART.finditer(pattern):
        escaped, other = part["escaped"], part["other"]
        depth += bool(part["open"]) - bool(part["close"])
        if depth == 0 and other == "|":
            raise ValueError(f"{pattern!r} has alternatives outside of a group")
        if depth == 0 and part["repeat"]:
            runs[-1] = runs[-1][:-1]  # may not be there at all
        if depth == 0 and escaped and not escaped.isalnum():
            runs[-1] += escaped
        elif depth == 0 and other and other not in ".^$+":
            runs[-1] += other
        else:
            runs.append("")
    return max(runs, key=len)
