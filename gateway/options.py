"""The gateway's settings: one frozen object, checked when it is made."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import GatewayError

__all__ = ["HALF_THE_CORES", "GatewayOptions", "Upstream"]

MAX_SOCKET_PATH = 107
"""Bytes that fit into `sockaddr_un.sun_path` with its final zero (unix(7))."""
MAX_PORT = 65535
HALF_THE_CORES = max(1, (os.cpu_count() or 1) // 2)
LEAST_PER_SERVER = 32
"""A server is busy all the time with so many, also where a commit takes 15 ms."""
UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One server process: the path of its Unix socket, or host and port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """Read `unix:/path`, `host:port` or `[::1]:port`.

        Raises:
            GatewayError: the text is none of these.
        """
        if text.startswith(UNIX):
            return cls(path=_socket_path(Path(text.removeprefix(UNIX)), "upstream"))
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
            raise GatewayError(f"upstream {text!r} must be unix:/path or host:port")
        return cls(host=host.strip("[]"), port=int(port))

    @property
    def is_name(self) -> bool:
        """Whether the host must be looked up in the DNS."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.path is None
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Everything that shapes the gateway. Times are in seconds, sizes in bytes unless named otherwise.

    Raises:
        GatewayError: a setting is out of its range; the message names it.
    """

    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    upstreams: tuple[str, ...] = ()
    """Where the servers listen: `unix:/path` or `host:port`, one for each process."""
    spare: str = ""
    """Where one more server listens while another restarts. It adds nothing to `max_concurrent`."""
    tls_certificate: Path | None = None
    """A PEM file with the certificate and its chain. With it the port speaks TLS, and nothing else."""
    tls_key: Path | None = None
    """A PEM file with the certificate's key."""
    admin_socket: Path | None = None
    """Envoy's admin interface, as a Unix socket of mode 0600. Without it, stopping cannot drain."""
    concurrency: int = HALF_THE_CORES
    """Envoy's worker threads. The servers need the other half: with a thread for each core, all of them wait
    for each other when there is most to do."""

    max_body_bytes: int = 65536
    """The largest REST body, but for a batch. gRPC messages are limited by the server."""
    max_batch_bytes: int = 2 * 1024 * 1024
    """The largest REST body of a batch. The servers take no larger ones."""
    max_heap_bytes: int = 1024 * 1024 * 1024
    """What Envoy may allocate. From three quarters of it on, the streams that hold most are reset."""
    max_header_kib: int = 12
    """With the 32 bytes that gRPC counts for each header, it stays below the 16 KiB that the servers take."""
    max_header_count: int = 100
    max_connections: int = 10_000
    max_streams: int = 1000
    """HTTP/2 streams open at once on one connection."""

    max_concurrent_per_server: int = 256
    """Calls under way at once, for each upstream; above it 503 at once. So many can come together: a server
    process takes some 2,000 to 4,000 a second, and is through with them in about a tenth of one."""
    latency_target: float = 0.005
    """While half of the calls take clearly longer than this, more come than can be served. Then fewer and
    fewer are let in at once, down to 32 for each upstream, so that the accepted do not wait for each other.
    Without `admin_socket`, all of `max_concurrent_per_server` are let in."""

    request_timeout: float = 10.0
    """From the whole REST request to the whole answer; then 504. Also the longest unary gRPC call."""
    header_timeout: float = 10.0
    """Until a request's headers have arrived; then 408."""
    body_timeout: float = 30.0
    """Until a whole request has arrived; then 408. It also ends a gRPC stream that a caller keeps sending
    on, such as reflection; streams that only the server sends on, such as health Watch, go on."""
    idle_timeout: float = 60.0
    """How long a stream may be silent, and a connection without a request is kept."""
    drain_timeout: float = 20.0
    """How long stopping waits for calls in flight."""
    drain_grace: float = 0.5
    """How long stopping goes on taking calls, so that a load balancer can see /readyz fail."""

    access_log: bool = False
    """One JSON line per request on standard output. Off: it adds about a quarter to Envoy's CPU time per
    request, and the server logs calls. Errors always go to standard error."""

    def __post_init__(self) -> None:
        """Check every setting."""
        if not self.upstreams:
            raise GatewayError("upstreams: name at least one server, as unix:/path or host:port")
        parsed = self.parsed_upstreams
        if any(one.path for one in parsed) and any(one.is_name for one in parsed):
            raise GatewayError("upstreams: Unix sockets cannot be mixed with host names; use IP addresses")
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise GatewayError(f"{missing}: is missing; give tls_certificate and tls_key, or neither")
        if self.admin_socket is not None:
            _socket_path(self.admin_socket, "admin_socket")
        if not 0 < self.listen_port <= MAX_PORT:
            raise GatewayError(f"listen_port: must be from 1 to {MAX_PORT}, not {self.listen_port}")
        self._check_positive()

    def _check_positive(self) -> None:
        """Refuse limits of nothing: Envoy reads a time of 0 as "for ever"."""
        sizes = ("max_body_bytes", "max_batch_bytes", "max_heap_bytes", "max_header_kib")
        limits = ("concurrency", "max_header_count", "max_connections", "max_streams")
        times = ("request_timeout", "header_timeout", "body_timeout", "idle_timeout", "drain_timeout")
        for name in (*sizes, *limits, "max_concurrent_per_server", "latency_target", *times):
            if getattr(self, name) <= 0:
                raise GatewayError(f"{name}: must be more than 0, not {getattr(self, name)}")

    @property
    def max_concurrent(self) -> int:
        """Calls under way at once, to all servers."""
        return self.max_concurrent_per_server * len(self.upstreams)

    @property
    def min_concurrent(self) -> int:
        """Calls that are let in at once however long they take."""
        return min(LEAST_PER_SERVER * len(self.upstreams), self.max_concurrent)

    @property
    def parsed_upstreams(self) -> tuple[Upstream, ...]:
        """The upstreams and the spare one, read."""
        return tuple(map(Upstream.parse, filter(None, (*self.upstreams, self.spare))))


def _socket_path(path: Path, setting: str) -> Path:
    """Return the path if a Unix socket can have it."""
    length = len(bytes(path))
    if length > MAX_SOCKET_PATH:
        raise GatewayError(
            f"{setting}: a Unix socket's path may have {MAX_SOCKET_PATH} bytes, this one has {length}: "
            f"{path}; choose a shorter folder"
        )
    if not path.is_absolute():
        raise GatewayError(f"{setting}: the path of a Unix socket must be absolute, not {path}")
    return path
