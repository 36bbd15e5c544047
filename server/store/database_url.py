"""Parses the database's URL, in libpq's form: `postgresql://user:password@host:5432/name?sslmode=require`.

The driver would send unknown parameters to the server, which rejects them, and its errors quote parts of a
malformed URL, possibly of the password. So Clarion parses the URL first. Every parameter of libpq is either
supported, by the driver or by Clarion, or rejected by name.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..errors import ConfigError

__all__ = ["DatabaseUrl", "Host", "parse_database_url"]

Host = Mapping[str, str | int]
"""The arguments of `asyncpg.connect` for one host: `host` and `port`, or none to use the driver's choice."""

_EXAMPLE = "postgresql://user:password@host:5432/database?sslmode=verify-full"
_FORM = re.compile(r"postgres(?:ql)?://([^/?#]*)(?:/([^?#]*))?(?:\?([^#]*))?")
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.%]+\]|[^:\[\]@]*)(?::(?P<port>[0-9]+))?")
_ENCODE = 'percent-encode reserved characters in the user and the password, such as "@" as %40 and "/" as %2F'
_PORT, _PORTS = 5432, range(1, 65536)

_BY_DRIVER = {
    "passfile", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "gsslib",
}  # fmt: skip
"""Parameters that the driver supports."""
_BY_CLARION = {"connect_timeout", "application_name", "options"}
_PLACE = {"host", "port", "user", "password", "dbname"}
"""Parameters that can also be set by other parts of the URL."""
_ALIASES = {"database": "dbname", "fallback_application_name": "application_name"}
_VALUES = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "auto"),
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "sslcertmode": ("allow",),
    "sslcompression": ("0",),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslsni": ("1",),
    "target_session_attrs": ("any", "primary", "read-write"),
}
"""The supported values of parameters that are only partly supported. Clarion always uses the primary."""
_VARIABLES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGAPPNAME": "application_name",
    "PGOPTIONS": "options",
    "PGCHANNELBINDING": "channel_binding",
    "PGGSSENCMODE": "gssencmode",
    "PGCLIENTENCODING": "client_encoding",
    "PGREQUIREAUTH": "require_auth",
    "PGREQUIREPEER": "requirepeer",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCRL": "sslcrl",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}
"""Variables of libpq that are checked like parameters. The driver reads others, such as PGPASSFILE."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The connection settings from the URL, the service file and libpq's variables."""

    driver_url: str = field(repr=False)
    """A URL with only what the driver supports. It may contain the password."""
    hosts: Sequence[Host] = ({},)
    """Each host if there are several; otherwise one entry without arguments."""
    application_name: str = "clarion"
    settings: Mapping[str, str] = field(default_factory=dict)
    """PostgreSQL's settings, from `options`."""
    exposed_password_file: str = ""
    """The password file if it is ignored because other users can read it."""
    connect_timeout: float | None = None
    """Seconds for a new connection; None if not set."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The password in the forms in which an error could quote it."""

    def without_secrets(self, text: str) -> str:
        """Return a text without the URL and the password."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "[hidden]")
        return text


def parse_database_url(url: str, environ: Mapping[str, str] = os.environ) -> DatabaseUrl:
    """Parse the database's URL.

    Args:
        url: The URL.
        environ: libpq's variables, for what the URL does not set. They are ignored for a Unix socket,
            which may be that of the embedded database, while they may be meant for another database.

    Raises:
        ConfigError: The URL is malformed, or sets something that Clarion does not support.
    """
    given = _parameters_of(url)
    if not all(name.startswith("/") for name in given.get("host", "").split(",")):
        given = {**_defaults(given, environ), **given}
    given.pop("service", None)
    _check(given)
    options = given.get("options", "")
    secrets = {url, given.get("password", ""), given.get("sslpassword", ""), environ.get("PGPASSWORD", "")}
    return DatabaseUrl(
        driver_url=_driver_url(given),
        hosts=_hosts(given),
        application_name=given.get("application_name") or "clarion",
        exposed_password_file="" if given.get("password") else _exposed_password_file(given, environ),
        settings=_settings_of(options) if options else {},
        connect_timeout=_timeout(given["connect_timeout"]) if given.get("connect_timeout") else None,
        secrets=tuple((secrets | {quote(secret, safe="") for secret in secrets}) - {""}),
    )


def _parameters_of(url: str) -> dict[str, str]:
    """Return the URL's parts and parameters by libpq's names.

    Errors quote nothing, because any part of a malformed URL may belong to the password.
    """
    match = _FORM.fullmatch(url.strip())
    if match is None:
        raise _error(f"not a PostgreSQL URL, such as {_EXAMPLE}; {_ENCODE}")
    authority, database, query = match.groups(default="")
    login, _, places = authority.rpartition("@")
    if "@" in login or "@" in database:
        raise _error(_ENCODE)
    user, _, password = login.partition(":")
    hosts = [_HOST.fullmatch(place) for place in unquote(places).split(",")] if places else []
    if not all(hosts):
        raise _error(f"a host or port is malformed; {_ENCODE}")
    names = [host["name"] for host in hosts if host]
    ports = [host["port"] or "" for host in hosts if host]
    parts = {
        "user": unquote(user),
        "password": unquote(password),
        "host": ",".join(names),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": unquote(database),
    }
    return {**{name: value for name, value in parts.items() if value}, **_query(query)}


def _query(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise _error(
            f"the part after the question mark is not in the form name=value&name=value; {_ENCODE}"
        ) from None
    found = {_ALIASES.get(name, name): value for name, value in pairs}
    if found.pop("ssl", "") == "true":  # the form of JDBC, which libpq accepts, too
        found.setdefault("sslmode", "require")
    return {name: value for name, value in found.items() if value}


def _defaults(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters that the service file and libpq's variables set."""
    service = given.get("service") or environ.get("PGSERVICE", "")
    found = {name: environ[variable] for variable, name in _VARIABLES.items() if environ.get(variable)}
    return {**found, **(_service(service, environ) if service else {})}


def _service(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a service, from the user's or the system's service file."""
    folder = environ.get("PGSYSCONFDIR", "/etc/postgresql-common")
    own = environ.get("PGSERVICEFILE") or str(Path(environ.get("HOME", "~")) / ".pg_service.conf")
    for path in (own, str(Path(folder) / "pg_service.conf")):
        reader = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
        try:
            reader.read(path, encoding="utf-8")
        except (configparser.Error, ValueError):  # these errors quote lines, which may hold a password
            raise _error(f'the service file "{path}" is malformed') from None
        if reader.has_section(name):
            return {_ALIASES.get(key, key): value for key, value in reader[name].items()}
    raise _error(f'service "{name}" is not in "{own}"')


def _check(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name in _VALUES:
            if value.lower() not in _VALUES[name]:
                raise _error(f'{name}="{value}" is not supported; use {" or ".join(_VALUES[name])}')
        elif name not in _BY_DRIVER | _BY_CLARION | _PLACE:
            raise _error(
                f'the parameter "{name}" is not supported; give a setting of the server as'
                " options=-c%20NAME%3DVALUE"
            )
    if given.get("sslrootcert") == "system":
        raise _error(
            "sslrootcert=system is not supported; name a file, such as /etc/ssl/certs/ca-certificates.crt"
        )
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if given.get(name) and not os.access(given[name], os.R_OK):
            raise _error(f'{name}: the file "{given[name]}" does not exist or cannot be read')
    ports = [port for port in given.get("port", "").split(",") if port]
    if not all(port.isdecimal() and int(port) in _PORTS for port in ports):
        raise _error(f"a port is not a number between 1 and 65535; {_ENCODE}")


def _exposed_password_file(given: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the password file's path if other users can read it; the driver, like libpq, then ignores it."""
    home = Path(environ.get("HOME", "~"))
    path = Path(given.get("passfile") or environ.get("PGPASSFILE") or home / ".pgpass")
    exposed = path.is_file() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return str(path) if exposed else ""


def _settings_of(options: str) -> dict[str, str]:
    """Return the settings in `options`, in the forms `-c name=value`, `-cname=value` and `--name=value`."""
    settings: dict[str, str] = {}
    try:
        words = shlex.split(options)
    except ValueError:
        raise _error(
            "options: a quotation mark is not closed, or a backslash is the last character"
        ) from None
    while words:
        word = words.pop(0)
        if word == "-c" and words:
            word += words.pop(0)
        name, equals, value = word[2:].partition("=")
        if not word.startswith(("-c", "--")) or not equals or not name:
            raise _error(f'options: "{word}" is not "-c NAME=VALUE"')
        settings[name.replace("-", "_")] = value
    return settings


def _timeout(text: str) -> float | None:
    """Return the seconds, or None for the default. 0 means the default, too; in libpq it means no limit."""
    if not text.strip().lstrip("-").isdecimal():
        raise _error(f'connect_timeout "{text}" is not a number of seconds')
    return float(text) if int(text) > 0 else None


def _driver_url(given: Mapping[str, str]) -> str:
    """Return the URL for the driver, with the parameters it supports and the hosts where it expects them."""
    query = {name: given[name] for name in sorted(_BY_DRIVER & given.keys())}
    places = ""
    if "host" in given:
        places = ",".join(_place(name, port) for name, port in _names_and_ports(given))
    elif "port" in given:
        query["port"] = given["port"]
    login = quote(given.get("user", ""), safe="")
    if "password" in given:
        login += f":{quote(given['password'], safe='')}"
    at = "@" if login else ""
    database = quote(given.get("dbname", ""), safe="")
    return f"postgresql://{login}{at}{places}/{database}{'?' if query else ''}{urlencode(query)}"


def _hosts(given: Mapping[str, str]) -> Sequence[Host]:
    places = _names_and_ports(given)
    if len(places) == 1:
        return ({},)
    return [{"host": name.strip("[]"), "port": int(port or _PORT)} for name, port in places]


def _names_and_ports(given: Mapping[str, str]) -> list[tuple[str, str]]:
    names, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if len(ports) not in {1, len(names)}:
        raise _error(f"{len(names)} hosts need 1 port or {len(names)} ports, not {len(ports)}")
    ports *= len(names) // len(ports)
    return list(zip(names, ports, strict=True))


def _place(name: str, port: str) -> str:
    bare = name.strip("[]")
    shown = f"[{bare}]" if ":" in bare else quote(bare, safe="")
    return f"{shown}:{port}" if port else shown


def _error(text: str) -> ConfigError:
    return ConfigError(f"database.url: {text}")
