"""An HTTP client that waits for a busy machine."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

__all__ = ["PATIENCE", "http_client"]

PATIENCE = 60.0
"""Seconds until a call fails. httpx's own 5 are too few on a busy machine."""
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nothing: to read all public certificates takes 50 ms, and most clients speak no TLS."""


def http_client(url: str = "", **options: Any) -> httpx.AsyncClient:
    """Return a client without proxies or trusted certificates; the options are those of `AsyncClient`."""
    defaults: dict[str, Any] = {"timeout": PATIENCE, "trust_env": False, "verify": _NO_TLS}
    return httpx.AsyncClient(base_url=url, **{**defaults, **options})
