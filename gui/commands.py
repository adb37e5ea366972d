"""`aios gui`. NiceGUI is imported when the command runs, so that `--help` is quick."""

from __future__ import annotations

import secrets
import socket
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from doctor.extras import how_to_add, how_to_install
from gui.access_control import Listener, is_loopback

SHORTEST_TOKEN = 16  # characters, of one that the user chooses

gui = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@gui.command()
def run_gui(
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open no browser.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. All but this machine's own 127.0.0.1 need --token."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(help="Token that opens the page, at least 16 characters. Default: a new random one."),
    ] = None,
    native: Annotated[
        bool, typer.Option("--native", help="Open a window of its own instead of the browser.")
    ] = False,
) -> None:
    """Open aios in the browser: doctor, installation, training, chat.

    The page starts the commands that it shows. A training that it started continues when the page is closed.
    """
    listener = Listener(host, _free_port(host, port), _token(host, token))
    _require("nicegui", how_to_add("gui"))
    if native:
        _require("webview", how_to_install("pywebview>=5"))
    from gui.server import serve

    serve(listener, opens="window" if native else None if no_browser else "browser")


def _require(package: str, command: str) -> None:
    if find_spec(package) is None:
        typer.echo(
            f"Error: {package} is not installed in {sys.prefix}. To install what the page needs:\n  {command}",
            err=True,
        )
        raise typer.Exit(2)


def _token(host: str, token: str | None) -> str:
    if token is None and not is_loopback(host):
        raise typer.BadParameter(
            f"{host} can be reached from other machines: choose a token with --token. The connection is not encrypted, so "
            "anyone who can read this network can also use the page."
        )
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise typer.BadParameter(
            f"--token has {len(token)} characters, and needs at least {SHORTEST_TOKEN}, such as {secrets.token_urlsafe()}"
        )
    return token or secrets.token_urlsafe()


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0; refused if another program listens on it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            if sys.platform != "win32":  # there it would share a port that is in use
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            return int(trial.getsockname()[1])
    except OSError as error:
        raise typer.BadParameter(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Choose another one with --host and --port."
        ) from error
