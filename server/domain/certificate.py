"""The identities of callers' certificates, by which a key is found instead of a bearer secret.

An identity is `uri:` and a URI of the certificate's subject alternative names, such as a SPIFFE ID; `dns:`
and a DNS name of them; or `sha256:` and the fingerprint of the certificate itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["HEADER", "MAX_IDENTITIES", "identities_in", "identity"]

HEADER = "x-clarion-certificate"
"""The header with the identities of the caller's certificate. The gateway sets it (gateway/config/keys.lua),
and removes what callers send."""
MAX_IDENTITIES = 20
"""Of one key."""
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_DNS = re.compile(r"(?=.{1,253}$)(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-+\--~]{1,2000}")
"""Printable ASCII without a comma, which separates identities in the header."""
_FORMS = "must be uri:URI, dns:NAME or sha256:FINGERPRINT, such as uri:spiffe://example.org/shop"


def identity(text: str) -> str:
    """Return an identity in the form in which it is stored and compared.

    DNS names become lower case. A fingerprint may have colons, as `openssl x509 -fingerprint` prints it.

    Raises:
        ValueError: It is not an identity; the message says what is.
    """
    kind, _, value = text.strip().partition(":")
    kind = kind.lower()
    if kind == "sha256":
        value = value.replace(":", "").lower()
        if _FINGERPRINT.fullmatch(value):
            return f"sha256:{value}"
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits")
    if kind == "dns" and _DNS.fullmatch(value.lower()):
        return f"dns:{value.lower()}"
    if kind == "uri" and _URI.fullmatch(value):
        return f"uri:{value}"
    raise ValueError(_FORMS)


def identities_in(header: str) -> Sequence[str]:
    """Return the identities in the gateway's header: the fingerprint, then URIs, then DNS names."""
    return [one.lower() if one.startswith("dns:") else one for one in header.split(",")]
