"""Runs in a Windows Python: starts `aios gui`, opens its first page as a browser does, and prints what it got as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


def main() -> None:
    command = [sys.executable, "-m", "aios", "gui", "--no-browser"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as served:
        assert served.stdout
        address = urlsplit(served.stdout.readline().split()[-1])
        try:
            entered = get(address.port, f"/?{address.query}")
            cookie = str(entered["headers"].get("set-cookie", "")).partition(";")[0]
            print(json.dumps({"refused": get(address.port, "/")["status"], **get(address.port, "/", cookie)}))  # noqa: T201
        finally:
            served.kill()


def get(port: int | None, path: str, cookie: str = "") -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read().decode("utf-8")
    connection.close()
    return {"status": answer.status, "headers": dict(answer.getheaders()), "body": body}


if __name__ == "__main__":
    main()
