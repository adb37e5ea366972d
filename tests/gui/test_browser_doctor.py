"""The doctor in Chromium: a diagnosis, a fix and its undo, a log that explains itself, the report to share."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.checks.cases import machine_json
from tests.gui.serving import ROOT, Served
from tests.gui.visiting import HOSTILE, Visit

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser
MACHINE = ROOT / "tests" / "machines" / "windows-cpu.json"
NAME = "läuft nicht {{1}} & co"


def test_a_recorded_machine_is_diagnosed_and_a_fix_applied_and_undone(
    browser: Any, served: Served, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    site = next(environment.rglob("site-packages"))
    (site / "~umpy").mkdir()
    (site / "~umpy" / "left.py").write_text("", encoding="utf-8")
    visit = Visit(browser, served)
    tab = visit.open("/doctor")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Recorded machine").fill(str(MACHINE))
    tab.get_by_role("button", name="Diagnose", exact=True).click()
    tab.get_by_text("(recorded machine)").wait_for()
    assert tab.get_by_role("button", name=re.compile("^Fix")).count() == 0
    assert visit.faults() == []

    tab.get_by_label("Recorded machine").fill("")
    tab.get_by_label("Only these checks").fill("broken-distributions")
    tab.get_by_label("Another Python").fill(str(environment))
    tab.get_by_role("button", name="Diagnose", exact=True).click()
    tab.get_by_role("button", name="Fix … broken-distributions").click()
    dialog = tab.get_by_role("dialog", name="Plan")
    dialog.get_by_text("move-remains-aside").wait_for()
    assert (site / "~umpy").is_dir()
    dialog.get_by_role("button", name="Apply").click()
    tab.get_by_text("Nothing to fix.").wait_for()
    assert not (site / "~umpy").exists()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")
    tab.get_by_role("button", name="Undo the newest fix").click()
    undo = tab.get_by_role("dialog", name="Undo")
    undo.get_by_role("button", name="Apply").click()
    tab.get_by_role("button", name="Fix … broken-distributions").wait_for()
    assert (site / "~umpy" / "left.py").is_file()
    visit.context.close()


def test_a_dropped_log_is_explained_and_stays_text(browser: Any, served: Served, tmp_path: Path) -> None:
    log = tmp_path / f"{NAME}.txt"
    log.write_text(
        f"{HOSTILE}\nImportError: DLL load failed while importing flash_attn_2_cuda: {HOSTILE}\n",
        encoding="utf-8",
    )
    visit = Visit(browser, served)
    tab = visit.open("/doctor")
    tab.get_by_label("Log file").set_input_files(log)
    answer = tab.get_by_role("region", name="Output")
    answer.get_by_text("flash_attn_2_cuda").first.wait_for()
    printed = answer.inner_text()
    said = subprocess.run(
        [sys.executable, str(ROOT / "aios.py"), "doctor", "explain-log", str(log)],
        env={**os.environ, "COLUMNS": "100", "PYTHONUTF8": "1", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    stored = str(Path("artifacts", "uploads", log.name))
    assert printed.split() == said.replace(str(log), stored).split()
    assert tab.evaluate("window.hacked") is None and visit.faults() == []

    tab.get_by_label("Log", exact=True).fill(log.read_text(encoding="utf-8"))
    tab.get_by_role("button", name="Explain").click()
    tab.get_by_text("explain-log -").wait_for()
    tab.get_by_role("region", name="Output").get_by_text("flash_attn_2_cuda").first.wait_for()
    assert tab.evaluate("window.hacked") is None
    visit.context.close()


def test_the_report_to_share_is_copied(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visit.root)
    tab = visit.open("/doctor")
    tab.get_by_role("button", name="Make the report").click()
    tab.get_by_role("button", name="Copy the report").click()
    tab.get_by_text("Copied").wait_for()
    copied = tab.evaluate("navigator.clipboard.readText()")
    shown = tab.get_by_role("region", name="Output").inner_text()
    assert copied.split() == shown.split() and "aios" in copied
    assert str(served.folder) not in copied
    visit.context.close()


def test_the_name_of_a_gpu_stays_text(browser: Any, served: Served, tmp_path: Path) -> None:
    name = HOSTILE.replace(",", "")  # nvidia-smi separates by commas
    text = json.dumps(machine_json("windows-rtx4090"))
    machine = tmp_path / "machine.json"
    machine.write_text(text.replace("NVIDIA GeForce RTX 4090", json.dumps(name)[1:-1]), encoding="utf-8")
    visit = Visit(browser, served)
    tab = visit.open("/doctor")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Recorded machine").fill(str(machine))
    tab.get_by_role("button", name="Diagnose", exact=True).click()
    tab.get_by_text("window.hacked=1").first.wait_for()
    assert tab.evaluate("window.hacked") is None and visit.faults() == []
    visit.context.close()
