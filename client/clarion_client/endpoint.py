"""Where Clarion is, and what goes with every call: address, key, channel options."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import grpc

from .arguments import checked_text

__all__ = ["OPTIONS", "Endpoint"]

_PORTS = {"http": 80, "https": 443}
_KEY = re.compile("[!-~]+")
_ANSWER_BYTES = 16 * 1024 * 1024
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.primary_user_agent", "clarion-client"),
    # Finds out that the other side is gone without a word: 5 s after something was sent that nobody took
    # (gRPC sets TCP_USER_TIMEOUT to this), else within 35 s. Only while calls are under way: the gateway
    # closes idle connections after a minute, and the next call opens one.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # gRPC's own pause before it connects again grows to two minutes: longer than any deadline here.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A thousand refused items, with all their violations.
    ("grpc.max_receive_message_length", _ANSWER_BYTES),
    # What to do about failures is decided here (retry.py), not by a TXT record.
    ("grpc.service_config_disable_resolution", 1),
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked target with its key."""

    address: str
    """`host:port`"""
    key: str = field(repr=False)
    roots: bytes | None = field(default=None, repr=False)
    """Certificates to trust, PEM; None: the system's."""
    tls: bool = False
    pid: int = field(default_factory=os.getpid, repr=False)

    @classmethod
    def parse(cls, target: str, key: str, ca_file: str | os.PathLike[str] | None) -> Self:
        """Read `host:port`, `http://host:port` or `https://host`.

        Raises:
            TypeError: the target or the key is no text.
            ValueError: the target or the key is none; the key is not shown.
            OSError: `ca_file` cannot be read.
        """
        _check_key(key)
        scheme, address = _split(checked_text("target", target))
        tls = scheme == "https"
        if ca_file is not None and not tls:
            raise ValueError(f"ca_file: is for https:// alone, and the target is {target!r}")
        return cls(address, key, Path(ca_file).read_bytes() if ca_file is not None else None, tls)

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.key}"),)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """The TLS credentials, or None without TLS."""
        return grpc.ssl_channel_credentials(self.roots) if self.tls else None

    def check_process(self) -> None:
        """Refuse to work in a fork: gRPC's threads are not there, and calls would hang.

        Raises:
            RuntimeError: this is another process than the one that made the client.
        """
        if os.getpid() != self.pid:
            raise RuntimeError("the client was made before a fork: make one in each process, after the fork")


def _check_key(key: str) -> None:
    """Refuse what is no key, without showing it."""
    if not isinstance(key, str):
        raise TypeError(f"key: must be a str, not {type(key).__name__}: is the variable that holds it set?")
    if not key.strip():
        raise ValueError("key: is empty: is the variable or the file that holds it?")
    if key.lower().startswith("bearer "):
        raise ValueError("key: must be the key alone, without the word Bearer: the client adds that")
    if not _KEY.fullmatch(key):
        raise ValueError("key: must be printable ASCII without spaces: read from a file, it needs strip()")


def _split(target: str) -> tuple[str, str]:
    """Return scheme and `host:port`.

    Raises:
        ValueError: the target is neither an address nor a URL of one.
    """
    bare = "://" not in target
    try:
        url = urlsplit(f"http://{target}" if bare else target)
        port = url.port
    except ValueError as error:
        raise ValueError(f"target: {target!r}: {error}") from None
    beside = url.username or url.password or url.path.strip("/") or url.query or url.fragment
    if url.scheme not in _PORTS or not url.hostname or beside or (bare and port is None):
        raise ValueError(f"target: must be host:port, http://host:port or https://host, not {target!r}")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return url.scheme, f"{host}:{port or _PORTS[url.scheme]}"
