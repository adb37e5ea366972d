"""Serves the pages until Ctrl-C, behind access control."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import webbrowser
from typing import Literal

import typer
from nicegui import app, background_tasks, core, ui
from nicegui.server import Server

from gui.access_control import AccessControl, Listener
from gui.frame import STYLE
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


def serve(listener: Listener, opens: Opens | None) -> None:
    """Serve, and print the address once the server answers. `opens`: what to open the address in, if anything."""
    prepare(listener)
    app.on_startup(lambda: _when_serving(listener, opens))
    ui.run(
        host=listener.host,
        port=listener.port,
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


def prepare(listener: Listener) -> None:
    """Put access control in front of everything that is served."""
    core.sio.eio.cors_allowed_origins = None  # the same origin only; NiceGUI allows all
    app.add_middleware(AccessControl, listener=listener)
    ui.add_css(STYLE, shared=True)


async def _when_serving(listener: Listener, opens: Opens | None) -> None:
    background_tasks.create(_announce(listener, opens))


async def _announce(listener: Listener, opens: Opens | None) -> None:
    while not Server.instance.started:
        await asyncio.sleep(0.02)
    typer.echo(f"aios is at {listener.address}\nEnd it with Ctrl-C. Trainings continue.")
    sys.stdout.flush()
    if opens == "browser":
        await asyncio.to_thread(webbrowser.open, listener.address)
    elif opens == "window":
        window = subprocess.Popen([sys.executable, "-c", WINDOW, listener.address])
        await asyncio.to_thread(window.wait)
        app.shutdown()
