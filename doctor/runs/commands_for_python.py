"""Add `--python` to the commands in texts about another Python; without it they act on the Python of aios."""

from __future__ import annotations

import re

from doctor.models import Finding, Fix
from doctor.quoting import in_text, quoted

# The commands that take --python
SUBCOMMANDS = "fix|undo|report|record|explain-log|explain"
OTHERS = f"{SUBCOMMANDS}|list|runs|diff|environments|--python"
TAKES_PYTHON = re.compile(
    rf"\baios (?:doctor (?:{SUBCOMMANDS})(?! --python)|(?:install|undo)(?! --python)|doctor(?! (?:{OTHERS})\b))\b(?!['-])"
)


def for_python(text: str, python: str | None) -> str:
    """Return the text with `--python` in its commands. `python`: the interpreter; None: the one that runs aios."""
    if python is None:
        return text
    word = quoted(python, windows="\\" in python)
    return TAKES_PYTHON.sub(lambda found: f"{found[0]} --python {word}", text)


def finding_for_python(finding: Finding, python: str) -> Finding:
    """Return the finding with `--python` in the commands of its texts and its fix."""
    texts = {
        name: in_text(for_python(getattr(finding, name), python)) for name in ("summary", "impact", "hint")
    }
    fix = finding.fix and _fix_for_python(finding.fix, python)
    return finding.model_copy(update={**texts, "fix": fix})


def _fix_for_python(fix: Fix, python: str) -> Fix:
    return fix.but(
        commands=tuple(for_python(command, python) for command in fix.commands),
        by_hand=tuple(for_python(command, python) for command in fix.by_hand),
    )
