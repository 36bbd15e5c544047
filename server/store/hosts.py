"""The hosts of a database URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Host", "hosts_of"]

Host = Mapping[str, str | int]
"""The arguments of `asyncpg.connect` for one host: `host` and `port`, or none for what the driver chooses."""

_PORT = "5432"


def hosts_of(url: str, environ: Mapping[str, str] = os.environ) -> list[Host]:
    """Return each host of a URL that names several, in libpq's forms; otherwise one without arguments.

    Raises:
        ValueError: A port is not a number, or there is not one port or one for each host.
    """
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    names, ports = _split(unquote(parts.netloc.rpartition("@")[2]))
    if not names:
        names, ports = _split(query.get("host") or environ.get("PGHOST", ""))
    if len(names) <= 1:
        return [{}]
    common = (query.get("port") or environ.get("PGPORT") or _PORT).split(",")
    if len(common) not in {1, len(names)}:
        raise ValueError(f"{len(names)} hosts need one port, or {len(names)}; got {len(common)}")
    common *= len(names) // len(common)
    return [
        {"host": name, "port": _number(port or other)}
        for name, port, other in zip(names, ports, common, strict=True)
    ]


def _split(hosts: str) -> tuple[list[str], list[str]]:
    """Return the names, and the ports, which may be empty, of `name:port,name`."""
    pairs = [_name_and_port(host) for host in hosts.split(",") if host]
    return [name for name, _ in pairs], [port for _, port in pairs]


def _name_and_port(host: str) -> tuple[str, str]:
    if host.startswith("/"):  # the folder of a socket
        return host, ""
    if host.startswith("["):  # an IPv6 address
        address, _, rest = host[1:].partition("]")
        return address, rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _number(port: str) -> int:
    if not port.isdecimal():
        raise ValueError(f"port {port!r} is not a number")
    return int(port)
