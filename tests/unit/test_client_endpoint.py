"""Targets, keys and other settings of a client."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clarion_client import Accepted, AsyncClient, Client
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
def test_target_is_an_address_or_url(target: str, address: str, tls: bool) -> None:  # noqa: FBT001
    endpoint = Endpoint.parse(target, KEY, None)
    assert (endpoint.address, endpoint.tls) == (address, tls)


@pytest.mark.parametrize(
    "target",
    ["", "clarion.internal", "127.0.0.1:", "127.0.0.1:99999", "ftp://x:1", "https://x/path", "http://u:p@x:1",
     "http://x:1?a=b"],
)  # fmt: skip
def test_invalid_target_is_rejected(target: str) -> None:
    with pytest.raises(ValueError, match=r"^target: "):
        Client(target, KEY)


@pytest.mark.parametrize("key", ["", f"{KEY}\n", "sk_ä", "a b"])
def test_invalid_key_is_rejected_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match=r"^key: ") as caught:
        Client("127.0.0.1:1", key)
    assert not key or key.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (None, TypeError, "NoneType; is the environment variable"),
        ("\n", ValueError, "is empty"),
        (f"Bearer {KEY}", ValueError, "omit the word Bearer"),
        (f"{KEY}\n", ValueError, r"strip\(\)"),
    ],
)
def test_key_errors_explain_the_cause(key: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^key: .*{message}"):
        Client("127.0.0.1:1", key)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_metadata_must_be_a_function(kind: type[Client] | type[AsyncClient]) -> None:
    wrong: Any = [("traceparent", "x")]
    with pytest.raises(TypeError, match=r"^metadata: must be a function, not list"):
        kind("127.0.0.1:1", KEY, metadata=wrong)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_repr_shows_the_target_but_not_the_key(kind: type[Client] | type[AsyncClient]) -> None:
    client = kind("https://clarion.example", key=KEY)
    assert repr(client) == f"{kind.__name__}('https://clarion.example:443', key=…)"
    assert KEY not in repr(Endpoint.parse("127.0.0.1:1", KEY, None))


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_timeout_must_be_positive_and_finite(timeout: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout: "):
        Client("127.0.0.1:1", KEY, timeout=timeout)


def test_type_errors_name_the_argument() -> None:
    target: Any
    for target, named in ((None, "target"), ("127.0.0.1:1", "timeout")):
        with pytest.raises(TypeError, match=f"^{named}: "):
            Client(target, KEY, timeout="3")  # type: ignore[arg-type]
    with Client("127.0.0.1:1", KEY) as clarion:
        calls: dict[str, Callable[[], object]] = {
            "trigger_id": lambda: clarion.cancel(Accepted("id", replayed=False)),  # type: ignore[arg-type]
            "trigger_ids": lambda: next(clarion.watch(trigger_ids="id")),
            r"trigger_ids\[0\]": lambda: next(clarion.watch(trigger_ids=[7])),  # type: ignore[list-item]
            "cursor": lambda: next(clarion.watch(cursor=7)),  # type: ignore[arg-type]
            "external_id": lambda: next(clarion.find(external_id=7)),  # type: ignore[arg-type]
            "campaign_id": lambda: next(clarion.find(campaign_id="44")),  # type: ignore[arg-type]
            "accepted_since": lambda: next(clarion.find(accepted_since="now")),  # type: ignore[arg-type]
        }
        for named, call in calls.items():
            with pytest.raises(TypeError, match=f"^{named}: "):
                call()


async def test_watching_no_triggers_ends_immediately() -> None:
    with Client("127.0.0.1:1", KEY) as clarion:
        assert list(clarion.watch(trigger_ids=[])) == []
    async with AsyncClient("127.0.0.1:1", KEY) as clarion:
        assert [change async for change in clarion.watch(trigger_ids=iter(()))] == []


def test_ca_file_needs_https(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^ca_file: "):
        Client("127.0.0.1:1", KEY, ca_file=tmp_path / "ca.pem")
    with pytest.raises(FileNotFoundError):
        Client("https://127.0.0.1:1", KEY, ca_file=tmp_path / "ca.pem")


def test_closed_client_raises() -> None:
    client = Client("127.0.0.1:1", KEY)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.trigger_text(45, external_id="u", phone="+12025550123")


def test_client_from_before_a_fork_raises() -> None:
    endpoint = Endpoint("127.0.0.1:1", KEY, pid=os.getpid() + 1)
    with pytest.raises(RuntimeError, match="fork"):
        endpoint.check_process()
