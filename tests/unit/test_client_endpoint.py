"""Where the client goes, and that it keeps its key to itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from clarion_client import AsyncClient, Client
from clarion_client.endpoint import Endpoint

KEY = "sk_01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("target", "address", "tls"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080", False),
        ("http://clarion.internal:8080", "clarion.internal:8080", False),
        ("http://clarion.internal", "clarion.internal:80", False),
        ("https://clarion.example/", "clarion.example:443", True),
        ("https://[::1]:8443", "[::1]:8443", True),
        ("[::1]:8080", "[::1]:8080", False),
    ],
)
def test_a_target_is_an_address_or_a_url(target: str, address: str, tls: bool) -> None:  # noqa: FBT001
    endpoint = Endpoint.parse(target, KEY, None)
    assert (endpoint.address, endpoint.tls) == (address, tls)


@pytest.mark.parametrize(
    "target",
    ["", "clarion.internal", "127.0.0.1:", "127.0.0.1:99999", "ftp://x:1", "https://x/path", "http://u:p@x:1",
     "http://x:1?a=b"],
)  # fmt: skip
def test_another_target_is_refused_in_words(target: str) -> None:
    with pytest.raises(ValueError, match=r"^target: "):
        Client(target, KEY)


@pytest.mark.parametrize("key", ["", f"{KEY}\n", "sk_ä", "a b", None])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(ValueError, match=r"^key: ") as caught:
        Client("127.0.0.1:1", key)
    assert not key or str(key).strip() not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_shows_where_it_goes_and_not_its_key(kind: type[Client] | type[AsyncClient]) -> None:
    client = kind("https://clarion.example", key=KEY)
    assert repr(client) == f"{kind.__name__}('https://clarion.example:443', key=…)"
    assert KEY not in repr(Endpoint.parse("127.0.0.1:1", KEY, None))


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_time(timeout: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout: "):
        Client("127.0.0.1:1", KEY, timeout=timeout)


def test_certificates_are_for_https(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^ca_file: "):
        Client("127.0.0.1:1", KEY, ca_file=tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError):
        Client("https://127.0.0.1:1", KEY, ca_file=tmp_path / "ca.pem")


def test_a_closed_client_says_so() -> None:
    client = Client("127.0.0.1:1", KEY)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.trigger_text(45, external_id="u", phone="+12025550123")


def test_a_client_from_before_a_fork_says_so() -> None:
    endpoint = Endpoint("127.0.0.1:1", KEY, pid=os.getpid() + 1)
    with pytest.raises(RuntimeError, match="fork"):
        endpoint.check_process()
