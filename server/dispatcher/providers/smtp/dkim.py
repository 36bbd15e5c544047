"""DKIM signatures (RFC 6376) for emails sent through SMTP: rsa-sha256, relaxed/simple.

It implements only what the messages from `compose` need. Libraries for the whole RFC sign in plain Python,
which is 20 times slower; the tests use one to verify signatures.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["Signer"]

_SIGNED = frozenset(
    {
        b"from",
        b"to",
        b"subject",
        b"date",
        b"message-id",
        b"mime-version",
        b"content-type",
        b"list-id",
        b"list-unsubscribe",
        b"list-unsubscribe-post",
    }
)
_LEAST_BITS = 1024
"""Verifiers reject shorter keys (RFC 8301 section 3.2)."""
_HEADER_END = re.compile(rb"\r\n(?![ \t])")
_SPACES = re.compile(rb"[ \t\r\n]+")
_NAMES_PER_LINE, _BASE64_PER_LINE = 5, 72


class Signer:
    """Signs emails for one domain with an RSA key.

    The body is canonicalised as `simple`, because 7-bit bodies are not changed in transit; headers may be
    refolded, so they are canonicalised as `relaxed`.
    """

    def __init__(self, domain: str, selector: str, key_file: str) -> None:
        """Load the key.

        Args:
            domain: The signing domain.
            selector: The name of the key: its public key is in DNS at `SELECTOR._domainkey.DOMAIN`.
            key_file: A PEM file with the private key, PKCS#1 or PKCS#8, not encrypted.

        Raises:
            ValueError: The file cannot be read or contains no usable key. The text quotes no part of it.
        """
        self._domain, self._selector = domain.encode("ascii"), selector.encode("ascii")
        self._key = _load(key_file)

    def sign(self, mail: bytes) -> bytes:
        """Return the mail, whose lines all end in CRLF, with its signature as the first header."""
        head, _, body = mail.partition(b"\r\n\r\n")
        signed = [pair for header in _HEADER_END.split(head) if (pair := _relaxed(header))[0] in _SIGNED]
        # `from` is listed once more than it occurs. If another one is added in transit, verification fails.
        unsigned = self._signature([*(name for name, _ in signed), b"from"], body)
        data = b"".join(b"%b:%b\r\n" % pair for pair in signed) + b"%b:%b" % _relaxed(unsigned)
        signature = base64.b64encode(self._key.sign(data, PKCS1v15(), SHA256()))
        lines = range(0, len(signature), _BASE64_PER_LINE)
        folded = b"\r\n ".join(signature[start : start + _BASE64_PER_LINE] for start in lines)
        return unsigned + folded + b"\r\n" + mail

    def _signature(self, names: list[bytes], body: bytes) -> bytes:
        """Return the header `DKIM-Signature`, with an empty signature at its end."""
        lines = range(0, len(names), _NAMES_PER_LINE)
        tags = (
            b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple",
            b"d=%b; s=%b; t=%d" % (self._domain, self._selector, time.time()),
            b"h=" + b":\r\n ".join(b":".join(names[start : start + _NAMES_PER_LINE]) for start in lines),
            b"bh=" + base64.b64encode(hashlib.sha256(_simple(body)).digest()),
            b"b=",
        )
        return b";\r\n ".join(tags)


def _relaxed(header: bytes) -> tuple[bytes, bytes]:
    """Return a header's name and value in relaxed canonicalisation (section 3.4.2)."""
    name, _, value = header.partition(b":")
    return name.lower(), _SPACES.sub(b" ", value).strip(b" ")


def _simple(body: bytes) -> bytes:
    """Return a body in simple canonicalisation (section 3.4.3): with one line end at its end."""
    return body.rstrip(b"\r\n") + b"\r\n"


def _load(key_file: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(Path(key_file).read_bytes(), password=None)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except TypeError:
        raise ValueError("is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("contains no private key in PEM form") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("contains no RSA key; verifiers are not required to support other kinds")
    if key.key_size < _LEAST_BITS:
        raise ValueError(f"contains a key of {key.key_size} bits; it must have {_LEAST_BITS} or more")
    return key
