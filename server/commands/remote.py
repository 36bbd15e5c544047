"""The options of commands that work with the database, or with a gateway and an admin key."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import grpc

from buf.validate import validate_pb2

from ..admin.client import AdminClient, LocalAdmin, RemoteAdmin
from ..errors import ConfigError
from ..process.tasks import Tasks
from .common import Invocation, run

if TYPE_CHECKING:
    from ..dispatcher.providers.base import Provider

__all__ = ["ADMIN_KEY", "Admin", "admin_options", "pages"]

F = TypeVar("F", bound=Callable[..., Any])
ADMIN_KEY = "CLARION_ADMIN_KEY"
_TLS = "https://"
_PLAIN = "http://"
_RULES: Any = validate_pb2.field  # its .pyi file predates typed extensions


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
        if not (secret.isascii() and secret.isprintable()):  # gRPC cannot send it
            where = self.key_file or ADMIN_KEY
            raise ConfigError(f"the admin key in {where} has characters that no key has; copy it again")
        async with self._channel(self.target) as channel:
            yield RemoteAdmin(channel, secret)

    def call(self, service: str, method: str, request: Any) -> Any:
        """Open the client, make one call, and return its response; see `AdminClient.call`."""

        async def work() -> Any:
            async with self.opened() as client:
                return await client.call(service, method, request)

        return run(work())

    def collect(self, service: str, method: str, request: Any, limit: int | None = None) -> list[Any]:
        """Return the rows of a list; see `pages`."""

        async def work() -> list[Any]:
            async with self.opened() as client:
                return [row async for row in pages(client, service, method, request, limit)]

        return run(work())

    def repeat(self, service: str, method: str, request: Any, cursor: str) -> list[Any]:
        """Repeat a call that makes its change in steps until it is done, and return the responses.

        Args:
            service: The service, as in `AdminClient.call`.
            method: The method.
            request: The first request.
            cursor: The field of the response that says where the step ended, and of the next request.
        """

        async def work() -> list[Any]:
            steps = []
            async with self.opened() as client:
                while True:
                    steps.append(step := await client.call(service, method, request))
                    if step.done:
                        return steps
                    request.MergeFrom(type(request)(**{cursor: getattr(step, cursor)}))

        return run(work())

    def configured_providers(self) -> Mapping[str, Provider] | None:
        """Return the providers of the settings; None with a gateway, whose servers know them.

        Raises:
            ConfigError: A setting is invalid.
        """
        from ..wiring.common import build_providers  # noqa: PLC0415 - see server/cli.py

        return build_providers(self.invocation.settings()) if self.target is None else None

    def _channel(self, target: str) -> grpc.aio.Channel:
        address = target.removeprefix(_TLS).removeprefix(_PLAIN).rstrip("/")
        if not target.startswith(_TLS) and self.ca_file is None:
            return grpc.aio.insecure_channel(address)
        roots = _read(self.ca_file).encode() if self.ca_file else None
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots))


async def pages(
    client: AdminClient, service: str, method: str, request: Any, limit: int | None = None
) -> AsyncIterator[Any]:
    """Yield the rows of a list, which are read in the largest pages that the contract allows.

    Args:
        client: Calls the admin API.
        service: The service, as in `AdminClient.call`.
        method: A method that returns a page of rows and `next_page_token`.
        request: The request of the first page.
        limit: The maximum number of rows; None for all.
    """
    largest = request.DESCRIPTOR.fields_by_name["page_size"].GetOptions().Extensions[_RULES].int32.lte
    left = limit
    while left is None or left > 0:
        request.page_size = largest if left is None else min(largest, left)
        page = await client.call(service, method, request)
        [rows] = (getattr(page, field.name) for field in page.DESCRIPTOR.fields if field.is_repeated)
        for row in rows:
            yield row
        if not page.next_page_token:
            return
        left = None if left is None else left - len(rows)
        request.page_token = page.next_page_token


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
