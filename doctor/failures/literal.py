"""The fixed text of a regular expression, and limits for its repetitions: both make the search of a long log fast."""

from __future__ import annotations

import re

COMMON = "site-packages"  # is in nearly every log
# Characters that an unlimited repetition matches at most, by what is repeated: two long paths, a path or version, a name
LIMITS = ((r"[\\/]", 8), (".", 400), (r"\S", 150), ("[^", 150), (r"\w", 60), ("[", 60))
SHORT = 8  # digits, spaces, separators of paths
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
    return max(_runs(pattern), key=lambda run: (COMMON not in run, len(run)))


def starts_with_literal(pattern: str) -> bool:
    """Whether every match of `pattern` starts with its literal."""
    return _runs(pattern)[0] == literal(pattern)


def _runs(pattern: str) -> list[str]:
    """The runs of fixed characters outside groups, in their order; the first is at the start of the pattern."""
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
    return runs


def bounded(pattern: str) -> str:
    """`pattern` with a limit for each unlimited repetition.

    The time of a search is then proportional to the length of the text, whatever it contains.
    """
    parts, repeated = [""], ""
    for part in PART.finditer(pattern):
        text = part[0]
        is_repeat = bool(part["repeat"]) or (text == "+" and not part["escaped"])
        if is_repeat and parts[-1] != repeated:
            limit = next((limit for start, limit in LIMITS if parts[-1].startswith(start)), SHORT)
            if text in "*+":
                text = f"{{{int(text == '+')},{limit}}}"
            elif text.endswith(",}"):
                text = f"{text[:-1]}{int(text[1:-2]) + limit}}}"
            repeated = text
        parts.append(text)
    return "".join(parts)
