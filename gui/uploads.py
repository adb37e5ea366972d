"""Files that are dropped on a page: stored in one folder, under their own name and nowhere else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from nicegui import app, ui

from gui.frame import tag

FOLDER = Path("artifacts", "uploads")  # in the current folder, as the other files of a training
PATH = "/files"
LARGEST = 64 << 30  # bytes
LONGEST_NAME = 120  # characters
NOT_IN_NAMES = re.compile(r'[<>:"|?*\x00-\x1f]')
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # names of devices on Windows
# The whole of this runs in the browser: the file is sent as it is read, and the server answers with its path
SEND = """(e) => {{ const file = e.target.files[0]; if (!file) return;
fetch('{path}?name=' + encodeURIComponent(file.name), {{method: 'POST', body: file}})
.then((answer) => answer.json()).then((answer) => emit(answer.path)); }}"""


@app.post(PATH)
async def receive(request: Request) -> JSONResponse:
    """Store the body of a request as a new file. Answers with its path."""
    target = place_for(request.query_params.get("name", ""))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    size = 0
    try:
        with part.open("xb") as file:
            async for block in request.stream():
                size += len(block)
                if size > LARGEST:
                    return JSONResponse({"path": "", "error": "too large"}, 413)
                file.write(block)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return JSONResponse({"path": str(target)})


def place_for(name: str) -> Path:
    """The path to store a file at: the last part of its name, in FOLDER, without letters that a file system refuses."""
    last = re.split(r"[/\\]", name)[-1]
    plain = NOT_IN_NAMES.sub("_", last).strip(" .")[-LONGEST_NAME:] or "file"
    return FOLDER / (f"_{plain}" if RESERVED.match(plain) else plain)


def file_field(label: str, received: Callable[[Path], Awaitable[Any]]) -> None:
    """A field to choose or drop a file; `received` gets the path of the stored copy."""
    with ui.element("label").classes("file"):
        tag("span", label)
        field = ui.element("input").props("type=file")

    async def handle(event: Any) -> None:
        if isinstance(event.args, str) and event.args:
            await received(place_for(event.args))

    field.on("change", handle, js_handler=SEND.format(path=PATH))
