"""Connects to the primary among the URL's hosts, and disconnects from one that hangs or was replaced.

A host that is stopped, or behind a broken network, may accept connections but never answer. So all hosts are
tried at the same time, and a running process checks once a second that its primary answers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import structlog

from .database_url import Host, parse_database_url
from .lost_network import notice_lost_network
from .sql import load
from .timelines import Replaced, Timelines

__all__ = ["Primary", "RawConnection", "ServerConnection", "exposed_to"]

log = structlog.get_logger(__name__)

_HOST_SECONDS = 2.0
"""Seconds that one of several hosts may take to answer a new connection."""
_SILENCE = 2.0
"""Seconds without an answer after which a new connection decides whether the server hangs."""
_INTERVAL = 1.0
"""Seconds between two checks of the primary."""
_SURVEY = 5.0
"""Seconds between two checks of all hosts, to find a newer primary while the old one runs."""
_SQL = load("primary.sql")
_IDENTIFY, _TIMELINE, _FOLLOWED = _SQL["identify"], _SQL["timeline"], _SQL["followed"]

RawConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class ServerConnection(asyncpg.Connection):  # generic in the stubs only
    """A connection that notices a lost network, and has no state to reset between uses.

    Attributes:
        exposed_to: The server's address if it is remote and TLS is not used, otherwise None.
    """

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        self.exposed_to = exposed_to(transport)
        notice_lost_network(transport.get_extra_info("socket"))

    def get_reset_query(self) -> str:
        """Return an empty statement, which saves a round trip."""
        return ""


@dataclass(frozen=True, slots=True)
class _Server:
    """One run of a PostgreSQL server. `cluster` and `timeline` are set only if there are several hosts."""

    started_at: dt.datetime
    cluster: int = 0
    timeline: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    server: _Server
    connection: ServerConnection
    host: str


class Primary:
    """The primary of the database.

    Args:
        url: The URL of the database, with one host or several.
        connect_timeout: Seconds for a new connection, unless the URL sets `connect_timeout`.

    Attributes:
        database: The parsed URL.
        startup: The startup parameters of connections.

    Raises:
        ConfigError: The URL is invalid.
    """

    def __init__(self, url: str, *, connect_timeout: float) -> None:
        self.database = parse_database_url(url)
        self.startup = {"application_name": self.database.application_name}
        self._hosts = self.database.hosts
        limit = self.database.connect_timeout or connect_timeout
        self._limit = min(limit, _HOST_SECONDS) if self._has_several_hosts else limit
        self._warned = False
        self._timelines = Timelines()
        self._unusable: dict[str, str] = {}
        self._surveyed_at = 0.0
        self._servers: weakref.WeakKeyDictionary[RawConnection, _Server] = weakref.WeakKeyDictionary()

    async def connect(self, *_: object, timeout: float = 0, **options: Any) -> RawConnection:  # noqa: ASYNC109
        """Connect to the primary, as `asyncpg.connect` does; URL and timeout are this object's.

        Raises:
            OSError: No host can be reached in time.
            asyncpg.PostgresError: A server refuses the connection, is a standby, or was replaced.
        """
        found = await self._find(options, thorough=self._has_several_hosts and not self._timelines)
        self._servers[found.connection] = found.server
        self._warn_if_exposed(found.connection)
        return found.connection

    async def watch(self) -> None:
        """Close connections to a primary that is silent or was replaced, until cancelled."""
        ours = None
        while True:
            if self._has_several_hosts and time.monotonic() - self._surveyed_at > _SURVEY:
                self._surveyed_at = time.monotonic()
                ours = await self._renew(ours, silent=False)
            else:
                ours = await self._check(ours)
            await asyncio.sleep(_INTERVAL)

    def _warn_if_exposed(self, connection: ServerConnection) -> None:
        """Warn once if TLS is not used with a remote server: others can read messages and recipients."""
        if connection.exposed_to and not self._warned:
            self._warned = True
            log.warning(
                "the connection to the database is not encrypted; set sslmode=verify-full in database.url",
                server=connection.exposed_to,
            )

    @property
    def _has_several_hosts(self) -> bool:
        return len(self._hosts) > 1

    async def _check(self, ours: _Found | None) -> _Found | None:
        """Return the connection if its server answers; otherwise a new one, or None."""
        silent = False
        try:
            if ours and await self._identify(ours.connection, _SILENCE) == ours.server:
                return ours
        except TimeoutError:
            silent = True
        except Exception as error:  # all connections were closed, or only this one
            log.info("check of the primary failed", error=type(error).__name__)
        if ours:
            ours.connection.terminate()
        return await self._renew(None, silent=silent)

    async def _renew(self, ours: _Found | None, *, silent: bool) -> _Found | None:
        """Find the primary and disconnect from all other servers.

        If no primary is found, disconnect only if the current one is silent.

        Returns:
            A connection to the primary, or the given one if no primary was found.
        """
        options = {"server_settings": self.startup}
        try:
            found = await self._find(options, thorough=not silent)  # a silent server would delay the answer
        except Exception as error:  # of any kind: the watch must not end
            # Without a connection to check, a timeout also means that the server is silent.
            silent = silent or (ours is None and isinstance(error, TimeoutError))
            log.warning("no primary found", hosts=self._unusable or type(error).__name__, silent=silent)
            if silent:
                self._leave_all_but(None)
            self._surveyed_at = 0.0  # there may be a newer primary soon, while the old one answers again
            return ours
        if ours:
            ours.connection.terminate()
        self._leave_all_but(found.server)
        return found

    def _leave_all_but(self, server: _Server | None) -> None:
        """Close the connections to other servers. Statements in progress fail and are retried."""
        left = [connection for connection, other in self._servers.items() if other != server]
        for connection in left:
            del self._servers[connection]
            connection.terminate()
        if left:
            log.warning(
                "disconnected from a database server that is silent or was replaced", connections=len(left)
            )

    async def _find(self, options: dict[str, Any], *, thorough: bool) -> _Found:
        """Connect to all hosts at once.

        Args:
            options: Arguments of `asyncpg.connect`.
            thorough: Wait for all hosts and return the newest primary; otherwise return the first that
                answers. A primary older than one seen before is never returned.
        """
        attempts = [asyncio.create_task(self._try(host, options)) for host in self._hosts]
        found: list[_Found] = []
        errors: list[BaseException] = []
        try:
            for attempt in asyncio.as_completed(attempts):
                try:
                    found.append(await attempt)
                except Exception as error:  # the most useful one is raised below
                    errors.append(error)
                if found and not thorough:
                    break
            best = self._newest_of(found, errors)
        except BaseException:
            await _abandon(attempts)
            raise
        await _abandon(attempts, keep=best.connection)
        return best

    def _newest_of(self, found: Sequence[_Found], errors: list[BaseException]) -> _Found:
        """Return the newest primary. A standby may have reported a newer timeline than an old one's."""
        for one in found:
            self._timelines.note(one.server.cluster, one.server.timeline)
        newest = []
        for one in found:
            try:
                self._timelines.require_newest(one.server.cluster, one.server.timeline, one.host)
            except Replaced as error:
                errors.append(error)
                self._unusable[one.host] = str(error)
            else:
                newest.append(one)
        if not newest:
            raise _most_useful(errors)
        return max(newest, key=lambda one: one.server.timeline)

    async def _try(self, host: Host, options: dict[str, Any]) -> _Found:
        """Connect to one host; raise an error, and keep its text for the log, if it is not the primary."""
        name = f"{host['host']}:{host['port']}" if host else ""
        self._unusable.pop(name, None)
        try:
            return await self._connect_to(host, name, options)
        except Exception as error:
            if name:
                text = str(error) or f"{type(error).__name__} within {self._limit:g} s"
                self._unusable[name] = self.database.without_secrets(text)
            raise

    async def _connect_to(self, host: Host, name: str, options: dict[str, Any]) -> _Found:
        # `any`: whether a server is a primary is decided here, so that a URL cannot select a standby.
        arguments: dict[str, Any] = {**options, **host, "target_session_attrs": "any"}
        async with asyncio.timeout(self._limit):
            connection: ServerConnection = await asyncpg.connect(
                self.database.driver_url,
                timeout=self._limit,
                **{"connection_class": ServerConnection, **arguments},
            )
            try:
                server = await self._identify(connection)
                self._timelines.require_newest(server.cluster, server.timeline, name)
            except BaseException:
                connection.terminate()
                raise
        return _Found(server, connection, name)

    async def _identify(self, connection: RawConnection, seconds: float | None = None) -> _Server:
        """Return the server's identity; raise an error if it is a standby."""
        async with asyncio.timeout(seconds):
            row = await connection.fetchrow(*_IDENTIFY())
            assert row  # noqa: S101 - a SELECT without FROM returns one row
            if row["is_standby"]:
                if self._has_several_hosts and (line := await connection.fetchrow(*_FOLLOWED())):
                    self._timelines.note(line["cluster"], line["timeline"])
                raise asyncpg.ReadOnlySQLTransactionError("is a standby")
            if not self._has_several_hosts:
                return _Server(row["started_at"])
            line = await connection.fetchrow(*_TIMELINE())
            assert line  # noqa: S101 - the function returns one row
            return _Server(row["started_at"], line["cluster"], int(line["timeline"], 16))


def _most_useful(errors: Sequence[BaseException]) -> BaseException:
    """Return the error to show: that of a server that refused the login, or was replaced."""
    answered = [one for one in errors if not isinstance(one, OSError | asyncpg.ReadOnlySQLTransactionError)]
    replaced = [one for one in errors if isinstance(one, Replaced)]
    return (answered or replaced or errors)[0]


async def _abandon(attempts: Sequence[asyncio.Task[_Found]], keep: RawConnection | None = None) -> None:
    """Cancel the attempts that still run, and close the connections of the others except `keep`."""
    for attempt in attempts:
        attempt.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, _Found) and result.connection is not keep:
            result.connection.terminate()


def exposed_to(transport: asyncio.BaseTransport) -> str | None:
    """Return the address of the transport's peer if it is remote and TLS is not used, otherwise None."""
    peer = transport.get_extra_info("peername")
    if transport.get_extra_info("ssl_object") or not isinstance(peer, tuple):  # a Unix socket has no address
        return None
    return None if ipaddress.ip_address(peer[0]).is_loopback else str(peer[0])
