"""DKIM signatures (RFC 6376) of the emails that leave by SMTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import dkim  # type: ignore[import-untyped]  # it has no types
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

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
        b"list-unsubscribe",
        b"list-unsubscribe-post",
    }
)
_LEAST_BITS = 1024
"""No verifier accepts less (RFC 8301 section 3.2)."""


class Signer:
    """Signs for one domain with an RSA key; relaxed/simple, for nobody changes a body that is 7-bit."""

    def __init__(self, domain: str, selector: str, key_file: str) -> None:
        """Load the key.

        Args:
            domain: Whose DNS has the public key.
            selector: Under which name: `SELECTOR._domainkey.DOMAIN`.
            key_file: A PEM file with the private key, PKCS#1 or PKCS#8, not encrypted.

        Raises:
            ValueError: The file cannot be read, or holds no such key. The message repeats nothing of it.
        """
        self._domain, self._selector = domain.encode("ascii"), selector.encode("ascii")
        key = _load(key_file)
        self._key = _OpenSslKey(key)
        self._pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    def sign(self, mail: bytes) -> bytes:
        """Return the mail, which has all its line ends as CRLF, with its signature as the first header."""
        signing = _Signing(mail, self._key)
        present = [name.lower() for name, _ in signing.headers]
        # Named once more than it stands there, a header cannot be added on the way.
        names = [b"from", *(name for name in present if name in _SIGNED)]
        signature: bytes = signing.sign(self._selector, self._domain, self._pem, include_headers=names)
        return signature + mail


class _Signature(NamedTuple):
    signature: bytes


class _OpenSslKey:
    """A key as dkimpy asks one to sign: dkimpy's own RSA is plain Python, and 20 times as slow."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> _Signature:
        return _Signature(self._key.sign(digest, PKCS1v15(), Prehashed(SHA256())))


class _Signing(dkim.DKIM):  # type: ignore[misc]  # it has no types
    """dkimpy, with the RSA of another key object than its own."""

    def __init__(self, mail: bytes, key: _OpenSslKey) -> None:
        super().__init__(mail)
        self._key = key

    def gen_header(self, *arguments: Any, **options: Any) -> bytes:
        """Sign and write the header. Its fields are fixed by now, `a=rsa-sha256` among them."""
        *others, _ = arguments
        self.signature_algorithm = b"ed25519-sha256"  # the branch that lets the key sign for itself
        header: bytes = super().gen_header(*others, self._key, **options)
        return header


def _load(key_file: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(Path(key_file).read_bytes(), password=None)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except TypeError:
        raise ValueError("is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no private key in PEM form") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("holds no RSA key, the one kind that every verifier knows")
    if key.key_size < _LEAST_BITS:
        raise ValueError(f"holds a key of {key.key_size} bits; it must have {_LEAST_BITS} or more")
    return key
