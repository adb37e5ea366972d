"""An installation from a server on loopback, in the page: its plan, its progress, its verification, its undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.install import loopback, stand_ins
from tests.doctor.install.catalogues import publish
from tests.doctor.install.fresh_environment import Environment, make_environment
from tests.doctor.install.stand_ins import LABEL
from tests.gui.serving import HOME, Served, serving
from tests.gui.visiting import Visit

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    """An environment with pip, a pretended RTX 4090, and an index with torch and flash-attn for it."""
    www = tmp_path / "www"
    stand_ins.torch(www / "whl" / "cu130", "2.14.1+cu130", "13.0")
    for name in ("networkx-stand-in", "einops-stand-in"):
        stand_ins.wheel(www / "index", name, "1.0", {f"{name.replace('-', '_')}.py": "x = 1\n"})
    flash = stand_ins.flash_attn(www / "files" / "v1", LABEL)
    made = make_environment(tmp_path / "environment ż")
    with loopback.serving(www) as server:
        made.use(server)
        made.with_gpu()
        publish(tmp_path / HOME, server, [flash])
        yield made


@pytest.fixture
def served(tmp_path: Path, environment: Environment) -> Iterator[Served]:
    with serving(tmp_path, variables=environment.all_variables()) as running:
        yield running


def test_an_installation_is_planned_done_verified_and_undone(
    browser: Any, served: Served, environment: Environment
) -> None:
    before = environment.tree()
    visit = Visit(browser, served)
    tab = visit.open("/install")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Only these packages").fill("torch flash-attn")
    tab.get_by_label("Another Python").fill(str(environment.python))
    tab.get_by_role("button", name="Show the plan").click()
    plan = tab.get_by_role("table")
    plan.wait_for()
    rows = {cells[0]: cells for cells in (each.split("\t") for each in plan.inner_text().splitlines())}
    assert rows["torch"][2] == "2.14.1+cu130" and rows["flash-attn"][2] == "2.8.3"
    assert all(row[4] for row in rows.values())  # the headings, and why each
    assert environment.version("torch") is None
    assert visit.faults() == []

    tab.get_by_role("button", name="Apply").click()
    done = tab.get_by_role("region", name="Output")
    done.get_by_text("Installed and verified.").wait_for()
    printed = done.inner_text()
    assert "Verifying torch" in printed and "Verifying flash-attn" in printed
    assert "torch-2.14.1+cu130" in printed and " of 0 MiB" in printed  # the stand-in is small
    assert environment.version("torch") == "2.14.1+cu130" and environment.version("flash-attn") == "2.8.3"

    tab.get_by_role("button", name="Undo the newest installation").click()
    tab.get_by_role("button", name="Apply").click()
    tab.get_by_role("region", name="Output").get_by_text("Undone.").wait_for()
    assert environment.tree() == before
    visit.context.close()
