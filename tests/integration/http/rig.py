"""A daemon with both doors open, and a rude little HTTP client."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.contract.scripted import ScriptedProvider
from tests.integration.faults.rig import Rig, serving
from tests.support.daemon_process import DaemonProcess

HTTP = {"listen": "127.0.0.1:0"}


def http_socket(daemon: DaemonProcess) -> Path:
    return daemon.socket.with_name("s-http.sock")


def port_of(daemon: DaemonProcess) -> int:
    found = re.findall(r"http://127\.0\.0\.1:(\d+)", daemon.log())
    return int(found[-1])


@contextlib.contextmanager
def http_rig(folder: Path, **settings: Any) -> Iterator[Rig]:
    """Serve on both doors, and probe at the end."""
    http_settings = {**HTTP, **settings.pop("http", {})}
    with serving(folder, http=http_settings, **settings) as rig:
        yield rig


class UnixConnection(http.client.HTTPConnection):
    """The standard library's client over a Unix socket."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Reply:
    """A whole answer."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        """Give a stream's events: each one's name, and its data as JSON where it is."""
        found = []
        for block in self.body.decode().split("\n\n"):
            name, data = "", None
            for line in block.splitlines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    data = value if value == "[DONE]" else json.loads(value)
            if data is not None:
                found.append((name, data))
        return found


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request and take the whole answer; ``body`` is bytes, or data for JSON."""
    sent = dict(headers or {})
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body=data, headers=sent)
    return Reply(connection.getresponse())


def over_unix(daemon: DaemonProcess, method: str, path: str, *args: Any, **kwargs: Any) -> Reply:
    with contextlib.closing(UnixConnection(http_socket(daemon))) as connection:
        return ask(connection, method, path, *args, **kwargs)


def over_tcp(daemon: DaemonProcess, method: str, path: str, *args: Any, **kwargs: Any) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(daemon), timeout=30)
    with contextlib.closing(connection):
        return ask(connection, method, path, *args, **kwargs)


def new_token(daemon: DaemonProcess) -> str:
    token: str = daemon.result("token.create")["token"]
    return token


__all__ = ["Rig", "ScriptedProvider"]
