"""Write docs/architectures.md: which model types of the installed transformers aios trains, and why not the others.

Each type is examined on a tiny model, see `examine_architecture`. Takes about ten minutes on one core.

    python scripts/architecture_table.py              # all types
    python scripts/architecture_table.py llama bert   # some; the others stay as the page has them
"""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from environment import REPOSITORY, say
from examine_architecture import Examined, examine
from tiny_architectures import model_types

PAGE = REPOSITORY / "docs" / "architectures.md"
TRAINED, REFUSED = "## Trained", "## Refused"
TEXT = """# Model types

`aios train` was tested with every type of causal language model in transformers {transformers}, on tiny models with random
weights (torch {torch}, CPU, {date}). `python scripts/architecture_table.py` wrote this page.

{trained}

{count_trained} types. Each was loaded from a folder that transformers saved, trained for three steps, and resumed after the second step with
bit-equal losses and weights. Sampled with the key-value cache, it generated the same tokens as transformers without a cache, also
past the length at which `longrope` positions change. After `aios export`, plain transformers computed the same logits.
{exceptions}

{types_trained}

{refused}

{count_refused} types are refused before any data is read, with exit status 2 and the reason given here.

| why | model types |
|---|---|
{reasons}
"""


def page(results: Iterable[Examined], date: str) -> str:
    """The page for these results."""
    results = sorted(results, key=lambda each: each.model_type)
    trained = [each for each in results if each.refusal is None]
    refused = [each for each in results if each.refusal is not None]
    reasons: dict[str, list[str]] = {}
    for each in refused:
        reasons.setdefault(str(each.refusal), []).append(each.model_type)
    rows = sorted(reasons.items(), key=lambda row: (-len(row[1]), row[0]))
    return TEXT.format(
        transformers=transformers.__version__,
        torch=torch.__version__.partition("+")[0],
        date=date,
        trained=TRAINED,
        refused=REFUSED,
        count_trained=len(trained),
        count_refused=len(refused),
        exceptions=_exceptions(trained),
        types_trained=textwrap.fill(
            _names(each.model_type for each in trained),
            width=120,
            break_long_words=False,
            break_on_hyphens=False,
        ),
        reasons="\n".join(f"| {reason} | {_names(names)} |" for reason, names in rows),
    )


def _exceptions(trained: list[Examined]) -> str:
    packing = [each.model_type for each in trained if not each.packing]
    window = [each.model_type for each in trained if not each.window]
    lines = []
    lines.append(
        f"Not with packed documents: {_names(packing)}." if packing else "All keep packed documents apart."
    )
    lines.append(
        f"Not with `window_size`: {_names(window)}." if window else "All can be trained with `window_size`."
    )
    return " ".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def read(text: str) -> dict[str, Examined]:
    """The results on a page, by model type."""
    trained, refused = text.split(f"\n{TRAINED}\n")[1].split(f"\n{REFUSED}\n")
    names = re.findall(r"`([^`]+)`", trained.rstrip().rpartition("\n\n")[2])
    without = {
        what: re.findall(r"`([^`]+)`", found[1])
        if (found := re.search(rf"Not with {what}: ([^.]*)\.", trained))
        else []
        for what in ("packed documents", "`window_size`")
    }
    results = {
        name: Examined(name, name not in without["packed documents"], name not in without["`window_size`"])
        for name in names
    }
    for reason, types in re.findall(r"^\| (.*) \| (`.*`) \|$", refused, re.MULTILINE):
        results |= {name: Examined(name, refusal=reason) for name in re.findall(r"`([^`]+)`", types)}
    return results


def examined(model_type: str) -> Examined:
    """The result for one type, in a temporary folder."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return examine(model_type, Path(folder))


def main() -> int:
    """Examine all types, or those named. Returns 1 if any is neither trained correctly nor refused in a sentence."""
    torch.set_num_threads(1)
    known, named = model_types(), sys.argv[1:]
    results = read(PAGE.read_text(encoding="utf-8")) if named and PAGE.exists() else {}
    results = {name: result for name, result in results.items() if name in known}
    faults = 0
    for model_type in named or known:
        began = time.perf_counter()
        try:
            results[model_type] = examined(model_type)
            found = results[model_type].refusal or "trained"
        except Exception as error:  # noqa: BLE001 - every error of any model is a fault to list, and the others go on
            faults += 1
            found = f"FAULT: {type(error).__name__}: {error}"
        say(f"{time.perf_counter() - began:5.1f} s  {model_type:26} {found}")
    PAGE.write_text(page(results.values(), time.strftime("%Y-%m-%d")), encoding="utf-8", newline="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
