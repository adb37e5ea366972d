"""The fixed text of a regular expression. Searching for that first makes the search of a long log fast."""

from __future__ import annotations

import re

PART = re.compile(
    r"""(?P<open>\() | (?P<close>\)) | \[\^?\]?(?:\\.|[^\]\\])*\]
    | \\(?P<escaped>.) | (?P<repeat>[*?]|\{[^}]*\}) | (?P<other>.)""",
    re.VERBOSE,
)


def literal(pattern: str) -> str:
    """The longest run of fixed characters in `pattern`, outside groups: every match contains it.

    Raises:
        ValueError: `pattern` has alternatives that are not in a group.
    """
    runs, depth = [""], 0
    for part in PART.finditer(pattern):
        escaped, other = part["escaped"], part["other"]
        depth += bool(part["open"]) - bool(part["close"])
        if depth == 0 and other == "|":
            raise ValueError(f"{pattern!r} has alternatives outside a group")
        if depth == 0 and part["repeat"]:
            runs[-1] = runs[-1][:-1]  # is optional
        if depth == 0 and escaped and not escaped.isalnum():
            runs[-1] += escaped
        elif depth == 0 and other and other not in ".^$+":
            runs[-1] += other
        else:
            runs.append("")
    return max(runs, key=len)
