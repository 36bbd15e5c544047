"""The providers with an HTTP API, each with a server that plays it, behind one interface."""

from __future__ import annotations

import contextlib
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.base import Message
from server.channels.email_message import Email
from server.channels.push import Push
from server.channels.text import Text
from tests.kit import sendgrid_api, twilio_api
from tests.kit.apns_server import KEY_ID, TEAM_ID, TOPIC, ApnsReply, ApnsServer, apns_server
from tests.kit.fcm_api import DEVICE, Google, account_file, pem, push
from tests.kit.http_api import Api, Reply, Request, http_api

__all__ = ["HTTP_PROVIDERS", "HttpProvider", "Server"]

HEX_TOKEN = "80b1d4ee4a7f1d9e0c62c0e9d3a5ff00" * 2


class Server(Protocol):
    """A provider's API, which accepts every valid message unless scripted otherwise."""

    url: str

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, after: float = 0.0
    ) -> None:
        """Script the answer to the next message, sent after `after` seconds."""

    ways_to_break: int

    def break_connection(self, how: int) -> None:
        """Answer the next message with something that is not HTTP, in one of `ways_to_break` variants."""

    def accept_and_break(self) -> None:
        """Accept the next message, and drop the connection within the answer's body."""

    @property
    def bodies(self) -> list[str]:
        """The texts of the accepted messages."""

    @property
    def traceparents(self) -> list[str]:
        """The `traceparent` of each accepted message, or an empty string."""

    @property
    def connections(self) -> int:
        """How many connections were opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProvider:
    """Describes one provider for the common tests."""

    kind: str
    label: str
    """Its name in error texts."""
    run: Callable[[Path, ssl.SSLContext | None], AbstractAsyncContextManager[Server]]
    """Run its server; the folder holds the files that `settings` names."""
    settings: Callable[[Path], dict[str, object]]
    wrong_credentials: dict[str, object]
    secret: str
    """Secrets that must not occur in error texts and reprs."""
    recipient: str
    message: Callable[[str], Message]
    """Return a message with this text."""
    other_message: Message
    """A message of a channel that it does not deliver."""
    unreadable: str = "no readable error"
    needs_body: tuple[int, ...] = ()
    """Statuses of success that count only with the documented body."""
    odd_bodies: tuple[bytes, ...] = ()
    """JSON that looks like an error of this API, but is not in its documented form."""


_BREAKS = (
    Reply(200, {}, cut=0),
    Reply(200, {}, cut=20),
    Reply(raw=b"220 mail.example.com ESMTP\r\n"),
    Reply(raw=b"\x16\x03\x01\x00\x00"),
    Reply(raw=b""),
)


class HttpServer:
    """A server of `http_api`."""

    ways_to_break = len(_BREAKS)

    def __init__(
        self, api: Api, script: list[Reply], accepted: Reply, text: Callable[[Request], str]
    ) -> None:
        self.url = api.url
        self._api = api
        self._script = script
        self._accepted = accepted
        self._text = text

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, after: float = 0.0
    ) -> None:
        self._script.append(Reply(status, body, headers or {}, after=after))

    def break_connection(self, how: int) -> None:
        self._script.append(_BREAKS[how])

    def accept_and_break(self) -> None:
        reply = self._accepted
        headers = {**reply.headers, "Content-Length": "999"}
        self._script.append(Reply(reply.status, reply.body, headers, close=True))

    @property
    def bodies(self) -> list[str]:
        return [self._text(request) for request in self._messages]

    @property
    def traceparents(self) -> list[str]:
        return [request.headers.get("traceparent", "") for request in self._messages]

    @property
    def _messages(self) -> list[Request]:
        return [request for request in self._api.requests if request.target != "/token"]

    @property
    def connections(self) -> int:
        return self._api.connections


class Http2Server:
    """A server of `apns_server`."""

    ways_to_break = 2

    def __init__(self, apns: ApnsServer) -> None:
        self.url = apns.url
        self._apns = apns

    def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, after: float = 0.0
    ) -> None:
        pairs = tuple((name.lower(), value) for name, value in (headers or {}).items())
        self._apns.script.append(ApnsReply(status, headers=pairs, body=body, after=after))

    def break_connection(self, how: int) -> None:
        self._apns.script.append(ApnsReply(200, body=b"{}", then=("garbage", "reset")[how]))

    def accept_and_break(self) -> None:
        self._apns.script.append(ApnsReply(200, body=b"{}", then="cut"))

    @property
    def bodies(self) -> list[str]:
        return [one.payload["aps"]["alert"]["body"] for one in self._apns.received]

    @property
    def traceparents(self) -> list[str]:
        return [one.headers.get("traceparent", "") for one in self._apns.received]

    @property
    def connections(self) -> int:
        return self._apns.connections


@contextlib.asynccontextmanager
async def _sendgrid(_folder: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Server]:
    accepted = Reply(202, b"", {"X-Message-Id": sendgrid_api.MESSAGE_ID})
    async with http_api(sendgrid_api.sendgrid, tls=tls) as api:
        yield HttpServer(api, api.script, accepted, lambda one: str(one.json()["content"][0]["value"]))


@contextlib.asynccontextmanager
async def _twilio(_folder: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Server]:
    async with http_api(twilio_api.twilio, tls=tls) as api:
        yield HttpServer(api, api.script, Reply(201, {"sid": "SM0"}), lambda one: one.form()["Body"])


_STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - only for tests


@contextlib.asynccontextmanager
async def _fcm(folder: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Server]:
    google = Google()
    google.now = time.time() + 60  # the provider reads the real clock; a token is valid for an hour
    async with http_api(google.answer, tls=tls) as google.api:
        (folder / "account.json").write_text(account_file(google.api.url))
        (folder / "stranger.json").write_text(account_file(google.api.url, private_key=pem(_STRANGER)))
        accepted = Reply(200, {"name": "projects/news-46/messages/0"})
        yield HttpServer(google.api, google.to_send, accepted, _fcm_text)


def _fcm_text(request: Request) -> str:
    return str(request.json()["message"]["notification"]["body"])


_APNS_KEY, _OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@contextlib.asynccontextmanager
async def _apns(_folder: Path, tls: ssl.SSLContext | None) -> AsyncIterator[Server]:
    if tls:
        tls.set_alpn_protocols(["h2"])
    async with apns_server(_APNS_KEY, tls=tls) as apns:
        yield Http2Server(apns)


def _apns_settings(folder: Path) -> dict[str, object]:
    for name, key in (("key.p8", _APNS_KEY), ("other.p8", _OTHER_KEY)):
        (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"key_file": str(folder / "key.p8"), "key_id": KEY_ID, "team_id": TEAM_ID, "topic": TOPIC}


_A_TEXT = Text(uuid.UUID(int=1), "", "+15551234567", "hi")
_AN_EMAIL = Email(uuid.UUID(int=1), "", "a@example.com", "b@example.com", "s", "t", "")

_ODD_REASON = b'{"reason": "%s\\r\\n", "timestamp": 99999999999999999999}' % HEX_TOKEN.encode()

HTTP_PROVIDERS = (
    HttpProvider(
        kind="sendgrid",
        label="SendGrid",
        run=_sendgrid,
        settings=lambda _: {"api_key": sendgrid_api.KEY},
        wrong_credentials={"api_key": "SG.wrong.sesame"},
        secret="sesame",
        recipient=sendgrid_api.ADDRESS,
        message=lambda text: sendgrid_api.make_email(text=text),
        other_message=_A_TEXT,
        odd_bodies=(
            b'{"errors": null}',
            b'{"errors": []}',
            b'{"errors": ["Maximum credits exceeded"]}',
            b'{"errors": [{"message": 7}]}',
            b'{"errors": [{"field": "personalizations.0.to.0.email"}]}',
        ),
    ),
    HttpProvider(
        kind="twilio",
        label="Twilio",
        run=_twilio,
        settings=lambda _: {
            "account_sid": twilio_api.ACCOUNT,
            "auth_token": twilio_api.TOKEN,
            "from_number": twilio_api.FROM,
        },
        wrong_credentials={"auth_token": "sesame"},
        secret="sesame",
        recipient=twilio_api.NUMBER.lstrip("+"),
        message=twilio_api.make_text,
        needs_body=(201,),
        other_message=_AN_EMAIL,
        odd_bodies=(b'{"code": "none"}', b'{"message": 7}', b'{"sid": 7}'),
    ),
    HttpProvider(
        kind="fcm",
        label="FCM",
        run=_fcm,
        settings=lambda folder: {"service_account_file": str(folder / "account.json")},
        wrong_credentials={"service_account_file": "stranger.json"},
        secret="ya29",
        recipient=DEVICE,
        message=lambda text: push(body=text),
        needs_body=(200, 204),
        other_message=_A_TEXT,
        odd_bodies=(b'{"name": 7}', b'{"name": "hi"}', b'{"error": [7]}'),
    ),
    HttpProvider(
        kind="apns",
        label="APNs",
        run=_apns,
        settings=_apns_settings,
        wrong_credentials={"key_file": "other.p8"},
        secret="eyJ",
        recipient=HEX_TOKEN,
        message=lambda text: Push(uuid.uuid4(), HEX_TOKEN, "Hello", text, {}),
        other_message=_A_TEXT,
        unreadable="no readable reason",
        odd_bodies=(b'{"reason": 7, "timestamp": 1e999}', b'{"reason": "two words"}', _ODD_REASON),
    ),
)
