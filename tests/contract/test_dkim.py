from __future__ import annotations

import base64
import re
from email.message import Message as ParsedMail
from pathlib import Path

import dkim  # type: ignore[import-untyped]  # no types available
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.dispatcher.providers import build
from server.errors import ConfigError
from tests.kit.smtp_provider import make_email, provider_for
from tests.kit.smtp_servers import mail_server

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
UNSUBSCRIBE = "https://shop.example.com/unsubscribe/" + "x" * 80


def pem(key: PrivateKeyTypes, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)


def settings_for(folder: Path, key: bytes) -> dict[str, str]:
    path = folder / "dkim.pem"
    path.write_bytes(key)
    return {"dkim_domain": "example.com", "dkim_selector": "clarion", "dkim_key_file": str(path)}


def lookup(name: bytes, timeout: float = 5) -> bytes:
    assert name == b"clarion._domainkey.example.com."
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def is_valid(content: bytes) -> bool:
    return bool(dkim.verify(content, dnsfunc=lookup))


async def sent(tmp_path: Path, changes: dict[str, str], key: bytes = b"") -> tuple[bytes, ParsedMail]:
    """Send an email, and return it as the server received it."""
    async with (
        mail_server(pipelining=True) as server,
        provider_for(server.port, **settings_for(tmp_path, key or pem(KEY))) as provider,
    ):
        await provider.send(make_email(**changes))
    return server.contents[0], server.mails[0]


def signed_headers(mail: ParsedMail) -> list[str]:
    listed = re.search(r"h=([^;]*);", mail["DKIM-Signature"])
    assert listed
    return [name.strip() for name in listed[1].split(":")]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"unsubscribe_url": UNSUBSCRIBE},
        {"subject": "Ein langer Betreff, der gefaltet wird, ü, " * 5},
        {"text": ".\n..dots\nFrom here on: trailing spaces  \n\n\n\n", "html": ""},
        {"text": "", "html": "<p>größer</p>" * 1000},
        {"text": "Eine Zeile von vielen.\n" * 10_000},
    ],
    ids=["plain", "unsubscribe", "subject", "dots", "html", "large"],
)
async def test_the_signature_is_valid_on_arrival(tmp_path: Path, changes: dict[str, str]) -> None:
    content, mail = await sent(tmp_path, changes)
    assert is_valid(content)
    assert "d=example.com" in mail["DKIM-Signature"]


async def test_the_signature_covers_visible_and_list_headers(tmp_path: Path) -> None:
    _, mail = await sent(tmp_path, {"unsubscribe_url": UNSUBSCRIBE})
    seen = ["from", "to", "subject", "date", "message-id", "mime-version", "content-type"]
    assert set(signed_headers(mail)) == {*seen, "list-id", "list-unsubscribe", "list-unsubscribe-post"}
    assert signed_headers(mail).count("from") == 2, "a second From could be added on the way"
    _, mail = await sent(tmp_path, {})
    assert set(signed_headers(mail)) == set(seen)


@pytest.mark.parametrize(
    ("found", "forged"),
    [
        (b"To: zoe", b"To: eve"),
        (b"Hallo", b"Hello"),
        (b"Subject: ", b"Subject: Re: "),
        (b"One-Click", b"One-Clack"),
        (b"From: ", b"From: eve@example.net\r\nFrom: "),
    ],
)
async def test_a_changed_message_has_an_invalid_signature(
    tmp_path: Path, found: bytes, forged: bytes
) -> None:
    content, _ = await sent(tmp_path, {"unsubscribe_url": UNSUBSCRIBE})
    assert found in content
    assert not is_valid(content.replace(found, forged, 1))


async def test_relays_may_refold_headers(tmp_path: Path) -> None:
    content, _ = await sent(tmp_path, {})
    assert is_valid(content.replace(b"Subject: ", b"Subject:\r\n\t "))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_key_formats(tmp_path: Path, form: PrivateFormat, line_end: bytes) -> None:
    content, _ = await sent(tmp_path, {}, pem(KEY, form).replace(b"\n", line_end))
    assert is_valid(content)


async def test_nothing_is_signed_by_default() -> None:
    async with mail_server() as server, provider_for(server.port) as provider:
        await provider.send(make_email())
    assert "DKIM-Signature" not in server.mails[0]


@pytest.mark.parametrize("missing", ["dkim_domain", "dkim_selector", "dkim_key_file"])
def test_all_dkim_settings_are_required(tmp_path: Path, missing: str) -> None:
    table = {"type": "smtp", "host": "a", **settings_for(tmp_path, pem(KEY))}
    del table[missing]
    with pytest.raises(ConfigError) as caught:
        build("mail", table, data_dir=tmp_path)
    assert str(caught.value) == f"providers.mail.{missing}: is required: set all three DKIM settings or none"


BROKEN = pem(KEY).replace(b"MII", b"IIM", 1)
# 512 bits: easy to break, so it is not a secret.
WEAK = b"""-----BEGIN PRIVATE KEY-----
MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEAsXYa6mk7aNzBInfJ
n+V9Tw7+yMuEIQFDmDIxFlOxXIZMPPuGn6Yk/C88nhXoaN3DDqib9S7UFDPe61rd
e29m/wIDAQABAkBPC9ShZY5Y/zvoJoNg/c/7TyqeNkj8ipuZR4Il99Gg7FKIaepV
zkg9vzAM5sE9OafOXXgFzms3x83CLJRAsRaBAiEA6bssaOdwSLPivFYr6ACdpiRC
SeRi17ZWYKrplYTvd7kCIQDCXntBXILE0J4Ku8CgMCuVTbHSohqfNwrV7f0LyvTA
dwIgE6wZVMsF/FiHoOpvz5sdqboriiSa3SUPqBs6hccmkKECIQCGBu6JAIivvIbu
Mc8+5lh3SK7w5pTi6uqO39+YrSeeOwIhAK+eNGHw8wv7iac/wDvZdcB27wLtTVKe
QzEKORfX3h7k
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"", "contains no private key in PEM form"),
        (b"a secret that is not a key", "contains no private key in PEM form"),
        (BROKEN, "contains no private key in PEM form"),
        (WEAK, "contains a key of 512 bits; it must have 1024 or more"),
        (pem(KEY, password=b"x"), "is encrypted"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "contains no RSA key"),
    ],
    ids=["empty", "text", "broken", "weak", "encrypted", "ed25519"],
)
def test_an_unusable_key_is_rejected(tmp_path: Path, key: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("mail", {"type": "smtp", "host": "a", **settings_for(tmp_path, key)}, data_dir=tmp_path)
    assert str(caught.value).startswith(f"providers.mail.dkim_key_file: {expected}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/nowhere", "cannot be read: No such file"), ("/", "cannot be read: Is a directory")],
)
def test_an_unreadable_key_file_is_reported(tmp_path: Path, path: str, expected: str) -> None:
    table = {"type": "smtp", "host": "a", **settings_for(tmp_path, b""), "dkim_key_file": path}
    with pytest.raises(ConfigError) as caught:
        build("mail", table, data_dir=tmp_path)
    assert str(caught.value).startswith(f"providers.mail.dkim_key_file: {expected}")
