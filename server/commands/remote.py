"""The options of commands that work with the database, or with a gateway and an admin key."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import grpc

from ..admin.client import AdminClient, LocalAdmin, RemoteAdmin
from ..errors import ConfigError
from ..process.tasks import Tasks
from .common import Invocation, run

__all__ = ["ADMIN_KEY", "Admin", "admin_options"]

F = TypeVar("F", bound=Callable[..., Any])
ADMIN_KEY = "CLARION_ADMIN_KEY"
_TLS = "https://"
_PLAIN = "http://"


@dataclass(frozen=True, slots=True)
class Admin:
    """Where a command calls the admin API.

    Attributes:
        invocation: The run of `clarion`.
        target: The gateway; None to use the database.
        ca_file: PEM file with the certificates to trust.
        key_file: File with the admin key; by default it is in the environment.
    """

    invocation: Invocation
    target: str | None
    ca_file: Path | None
    key_file: Path | None

    @asynccontextmanager
    async def opened(self, *, operations: bool = False) -> AsyncIterator[AdminClient]:
        """Open the client for the duration of the block.

        Args:
            operations: With the database, also carry out operations during the block, as servers do.

        Raises:
            ConfigError: The database or the admin key is missing, or a file cannot be read.
        """
        from ..admin.operations import run_operations  # noqa: PLC0415 - see server/cli.py
        from ..wiring.operators import build_backend  # noqa: PLC0415

        if self.target is None:
            async with self.invocation.database() as pool, Tasks() as tasks:
                if operations:
                    tasks.start(run_operations(pool))
                yield LocalAdmin(build_backend(self.invocation.settings(), pool))
            return
        secret = _read(self.key_file).strip() if self.key_file else os.environ.get(ADMIN_KEY, "")
        if not secret:
            raise ConfigError(
                f"the admin key is missing; set {ADMIN_KEY} or use --admin-key-file, "
                "or leave out --target to use the database"
            )
        async with self._channel(self.target) as channel:
            yield RemoteAdmin(channel, secret)

    def call(self, service: str, method: str, request: Any) -> Any:
        """Open the client, make one call, and return its response; see `AdminClient.call`."""

        async def work() -> Any:
            async with self.opened() as client:
                return await client.call(service, method, request)

        return run(work())

    def _channel(self, target: str) -> grpc.aio.Channel:
        address = target.removeprefix(_TLS).removeprefix(_PLAIN).rstrip("/")
        if not target.startswith(_TLS) and self.ca_file is None:
            return grpc.aio.insecure_channel(address)
        roots = _read(self.ca_file).encode() if self.ca_file else None
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots))


def admin_options(command: F) -> F:
    """Add the options that choose where the command works; it gets an `Admin` as `admin`."""

    def wrapped(
        invocation: Invocation,
        /,
        *,
        target: str | None,
        ca_file: Path | None,
        key_file: Path | None,
        **options: Any,
    ) -> Any:
        return command(admin=Admin(invocation, target, ca_file, key_file), **options)

    functools.update_wrapper(wrapped, command)
    decorated: Any = click.pass_obj(wrapped)
    for option in _OPTIONS:
        decorated = option(decorated)
    return cast("F", decorated)


_FILE = click.Path(path_type=Path)
_OPTIONS = (
    click.option(
        "--admin-key-file",
        "key_file",
        type=_FILE,
        help=f"File with the admin key for --target.  [default: the variable {ADMIN_KEY}]",
    ),
    click.option("--ca-file", type=_FILE, help="Use TLS and trust the certificates in this PEM file."),
    click.option(
        "--target",
        help="A gateway to call with an admin key: host:port, or https://host:port for TLS."
        "  [default: use the database]",
    ),
)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
