"""Recognises connection errors that no retry can fix: the URL or the server's configuration is wrong."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ..errors import ConfigError
from .database_url import DatabaseUrl

__all__ = ["NO_SESSIONS", "explained"]

NO_SESSIONS = (
    "the connection goes through a pooler in transaction mode, which shares sessions between clients;"
    " use session mode (in PgBouncer, pool_mode = session), or connect to PostgreSQL directly"
)

_STATES = ("28", "3D000", "42501", "42704", "22023", "55P02")
"""SQLSTATE prefixes: failed login, unknown database, no permission, and settings that cannot be applied."""
_LOST_STATEMENT = ("26000", "42P05")
"""A prepared statement is missing or already exists, so this is a different session than before."""
_POOLER = ("unsupported startup parameter", "no such database", "no such user", "SASL", "SSL required")
"""The first words of PgBouncer's configuration errors. All its errors have the SQLSTATE 08P01."""
_TLS_REFUSED = "rejected SSL upgrade"


@contextmanager
def explained(database: DatabaseUrl) -> Iterator[None]:
    """Convert errors of a wrong configuration to a ConfigError with one line of text, without the password.

    Raises:
        ConfigError: The URL, a file that it names, or the server's configuration is wrong.
    """
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, OSError) as error:
        text = _text(error)
        if text is None:
            raise
        if database.exposed_password_file and "password" in text:
            text += f'; the file "{database.exposed_password_file}" is not read: make it private (chmod 600)'
        line = " ".join(database.without_secrets(text).split())
        raise ConfigError(f"database.url: {line}") from error


def _text(error: Exception) -> str | None:
    """Return the text for the operator, or None if a retry may help."""
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate or "")
        if state in _LOST_STATEMENT:
            return NO_SESSIONS
        of_pooler = state == asyncpg.ProtocolViolationError.sqlstate and str(error).startswith(_POOLER)
        return str(error) if state.startswith(_STATES) or of_pooler else None
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS with the server failed: {error.reason or error}"
    if isinstance(error, OSError):
        refused = _TLS_REFUSED in str(error)
        return "the server does not support TLS, which sslmode requires" if refused else None
    is_login = "authentication" in str(error).lower()  # the driver does not support the server's login method
    return str(error) if isinstance(error, ValueError) or is_login else None
