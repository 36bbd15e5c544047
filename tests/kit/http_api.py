"""An HTTP/1.1 server on port 0 that plays a provider's API: strict with requests, scripted in its answers.

    async with http_api(answer) as api:
        api.script += [Reply(503), Reply(429, headers={"Retry-After": "7"}), Reply(raw=b"nonsense")]
        ...  # a client of api.url
        assert api.requests[0].json() == {...}

Replies in `script` are sent first; after that `answer` returns the reply to each request.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl

from tests.kit.connections import serving

MAX_BODY = 1024 * 1024
MAX_HEADERS = 100
MAX_REQUESTS = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """One request as received. Header names are in lower case; `target` is the path with its query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, which must be declared as JSON, be UTF-8, and have no duplicate members."""
        assert self.headers["content-type"].partition(";")[0] == "application/json"
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)

    def form(self) -> dict[str, str]:
        """Return the body, which must be an ASCII form without duplicate fields."""
        assert self.headers["content-type"].partition(";")[0] == "application/x-www-form-urlencoded"
        text = self.body.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, encoding="utf-8", errors="strict"
        )
        return _once(pairs)

    def bearer(self) -> str:
        """Return the bearer token, or an empty string."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""

    def basic(self) -> tuple[str, str]:
        """Return the user name and password of basic authentication, or two empty strings."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        return (user, password) if scheme == "Basic" else ("", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: a status with a body (JSON, or bytes unchanged), or `raw` bytes instead of HTTP.

    `after`: seconds before the reply. `held`: an event to wait for before the reply. `cut`: the number of
    bytes after which the connection is dropped. The connection is also closed after `raw`, and if `close` is
    set.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    held: asyncio.Event | None = None
    cut: int | None = None
    raw: bytes | None = None
    close: bool = False

    @property
    def closes(self) -> bool:
        return self.close or self.cut is not None or self.raw is not None

    def encode(self) -> bytes:
        whole = self._http() if self.raw is None else self.raw
        return whole if self.cut is None else whole[: self.cut]

    def _http(self) -> bytes:
        own = {"Connection": "close"} if self.closes else {}
        content = b"" if self.body is None else self.body
        if not isinstance(content, bytes):
            own["Content-Type"] = "application/json"
            content = json.dumps(content).encode()
        fields = {"Content-Length": str(len(content)), **own, **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return (
            f"HTTP/1.1 {self.status} {responses.get(self.status, 'Odd')}\r\n{head}\r\n".encode("latin-1")
            + content
        )


Answer = Callable[[Request], Reply]


class Api:
    """The requests that the server received and its next replies."""

    def __init__(self, answer: Answer) -> None:
        self.url = ""
        self.script: list[Reply] = []
        self.requests: list[Request] = []
        self.connections = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        self.connections += 1
        while (request := await _read(reader)) is not None:
            self.requests.append(request)
            assert len(self.requests) <= MAX_REQUESTS
            reply = self.script.pop(0) if self.script else self._answer(request)
            if reply.after:
                await asyncio.sleep(reply.after)
            if reply.held:
                await reply.held.wait()
            writer.write(reply.encode())
            await writer.drain()
            if reply.closes:
                return


def _ok(_: Request) -> Reply:
    return Reply(200, {})


@contextlib.asynccontextmanager
async def http_api(answer: Answer = _ok, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Api]:
    """Run the server. A request that is not valid HTTP, or an `answer` that raises, fails the test."""
    api = Api(answer)
    async with serving(api.serve, tls) as api.url:
        yield api


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, or None if the client has closed the connection."""
    line = await reader.readline()
    if not line:
        return None
    method, target, version = line.decode("ascii").split()
    assert version == "HTTP/1.1"
    headers = await _read_headers(reader)
    assert headers["host"]
    assert "transfer-encoding" not in headers
    length = int(headers.get("content-length", "0"))
    assert 0 <= length <= MAX_BODY
    try:
        return Request(method, target, headers, await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None


async def _read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    pairs = []
    while (line := await reader.readline()) != b"\r\n":
        assert line.endswith(b"\r\n")
        name, colon, value = line.decode("latin-1").partition(":")
        assert colon
        pairs.append((name.lower(), value.strip()))
        assert len(pairs) <= MAX_HEADERS
    return _once(pairs)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a dictionary; a duplicate name is a fault."""
    found = dict(pairs)
    assert len(found) == len(pairs), "a name comes twice"
    return found


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")
