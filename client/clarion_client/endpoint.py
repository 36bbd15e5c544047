"""The gateway's address, the API key, and the options of gRPC channels."""

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
_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.primary_user_agent", "clarion-client"),
    # Detects a dead connection within 5 s of sending data that is not acknowledged (gRPC sets
    # TCP_USER_TIMEOUT to this), otherwise within 35 s. Only while calls are in progress: the gateway closes
    # idle connections after a minute, and the next call opens a new one.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # By default gRPC waits up to two minutes before it reconnects, which is longer than most deadlines.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Enough for a batch of a thousand rejected items with all their violations.
    ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
    # retry.py decides about retries, not a service config from a DNS TXT record.
    ("grpc.service_config_disable_resolution", 1),
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A validated target and its API key."""

    address: str
    """`host:port`"""
    key: str = field(repr=False)
    roots: bytes | None = field(default=None, repr=False)
    """Certificates to trust (PEM); None: the system's."""
    tls: bool = False
    pid: int = field(default_factory=os.getpid, repr=False)
    """The process that may use it."""

    @classmethod
    def parse(cls, target: str, key: str, ca_file: str | os.PathLike[str] | None) -> Self:
        """Return the endpoint of a target.

        Args:
            target: `host:port`, `http://host:port` or `https://host`.
            key: An API key.
            ca_file: Path of the certificates (PEM) to trust, for `https://` only.

        Raises:
            TypeError: The target or the key is not a string.
            ValueError: The target or the key is invalid; the message does not show the key.
            OSError: `ca_file` cannot be read.
        """
        _check_key(key)
        scheme, address = _split(checked_text("target", target))
        tls = scheme == "https"
        if ca_file is not None and not tls:
            raise ValueError(f"ca_file: is only valid for https:// targets, but the target is {target!r}")
        return cls(address, key, Path(ca_file).read_bytes() if ca_file is not None else None, tls)

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of every call."""
        return (("authorization", f"Bearer {self.key}"),)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """The TLS credentials, or None without TLS."""
        return grpc.ssl_channel_credentials(self.roots) if self.tls else None

    def check_process(self) -> None:
        """Check that this is not a forked process: gRPC's threads do not survive a fork, so calls would hang.

        Raises:
            RuntimeError: Another process created the client.
        """
        if os.getpid() != self.pid:
            raise RuntimeError(
                "the client was created before a fork; create one in each process, after the fork"
            )


def _check_key(key: str) -> None:
    """Check that a key can be sent in a header, without showing it in errors."""
    if not isinstance(key, str):
        raise TypeError(f"key: must be a str, not {type(key).__name__}; is the environment variable set?")
    if not key.strip():
        raise ValueError("key: is empty; check the variable or file that it is read from")
    if key.lower().startswith("bearer "):
        raise ValueError("key: must be only the key; omit the word Bearer, which the client adds")
    if not _KEY.fullmatch(key):
        raise ValueError(
            "key: must be printable ASCII without spaces; if it is read from a file, use strip()"
        )


def _split(target: str) -> tuple[str, str]:
    """Return the scheme and `host:port` of a target.

    Raises:
        ValueError: The target has another form.
    """
    bare = "://" not in target
    try:
        url = urlsplit(f"http://{target}" if bare else target)
        port = url.port
    except ValueError as error:
        raise ValueError(f"target: {target!r}: {error}") from None
    extra = url.username or url.password or url.path.strip("/") or url.query or url.fragment
    if url.scheme not in _PORTS or not url.hostname or extra or (bare and port is None):
        raise ValueError(f"target: must be host:port, http://host:port or https://host, not {target!r}")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return url.scheme, f"{host}:{port or _PORTS[url.scheme]}"
