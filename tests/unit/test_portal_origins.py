"""Which origins the portal accepts forms of."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from portal.errors import NotFromThePortal
from portal.security import require_same_origin

PUBLIC = "https://clarion.example.com"


def form_of(origin: str) -> Request:
    headers = [(b"origin", origin.encode()), (b"host", b"clarion.example.com")]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("origin", "public_url"),
    [
        (PUBLIC, PUBLIC),
        ("https://CLARION.example.com", PUBLIC),
        (PUBLIC, ""),
        ("http://clarion.example.com", ""),
    ],
)
def test_own_forms_are_accepted(origin: str, public_url: str) -> None:
    require_same_origin(form_of(origin), public_url)


@pytest.mark.parametrize(
    ("origin", "public_url"),
    [
        ("http://clarion.example.com", PUBLIC),  # someone between browser and gateway can write its pages
        ("https://clarion.example.com:8443", PUBLIC),
        ("https://clarion.example.com.evil.example", PUBLIC),
        ("null", PUBLIC),
        ("http://[", PUBLIC),
        ("http://[", ""),
        ("null", ""),
    ],
)
def test_forms_of_other_origins_are_rejected(origin: str, public_url: str) -> None:
    with pytest.raises(NotFromThePortal):
        require_same_origin(form_of(origin), public_url)
