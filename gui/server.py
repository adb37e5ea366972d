"""Serves the pages until Ctrl-C, behind the gate."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import webbrowser
from typing import Literal

import typer
from nicegui import app, background_tasks, core, ui
from nicegui.server import Server

from gui.frame import STYLE
from gui.gate import Door, Gate
from gui.pages import chat, doctor, home, install, optimize, run, runs, train

MODULES = (home, doctor, install, train, runs, run, optimize, chat)  # importing a page registers it
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1f4fb3"/>'
    '<path d="M3 12 8 3l5 9z" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
WINDOW = (
    "import sys, webview; webview.create_window('aios', sys.argv[1], width=1280, height=800); webview.start()"
)

Opens = Literal["browser", "window"]


def serve(door: Door, opens: Opens | None) -> None:
    """Serve, and print the address once the server answers. `opens`: what to open the address in, if anything."""
    prepare(door)
    app.on_startup(lambda: _when_serving(door, opens))
    ui.run(
        host=door.host,
        port=door.port,
        title="aios",
        favicon=ICON,
        language="en-US",
        dark=None,
        show=False,
        reload=False,
        tailwind=False,
        show_welcome_message=False,
        binding_refresh_interval=None,
        reconnect_timeout=20.0,
    )


def prepare(door: Door) -> None:
    """Put the gate in front of everything that is served."""
    core.sio.eio.cors_allowed_origins = None  # the same origin only; NiceGUI allows all
    app.add_middleware(Gate, door=door)
    ui.add_css(STYLE, shared=True)


async def _when_serving(door: Door, opens: Opens | None) -> None:
    background_tasks.create(_announce(door, opens))


async def _announce(door: Door, opens: Opens | None) -> None:
    while not Server.instance.started:
        await asyncio.sleep(0.02)
    typer.echo(f"aios is at {door.address}\nEnd it with Ctrl-C. Trainings continue.")
    sys.stdout.flush()
    if opens == "browser":
        await asyncio.to_thread(webbrowser.open, door.address)
    elif opens == "window":
        window = subprocess.Popen([sys.executable, "-c", WINDOW, door.address])
        await asyncio.to_thread(window.wait)
        app.shutdown()
