"""Defines `clarion trigger`, a client for trying out Clarion through its typed gRPC calls."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from clarion.v1 import trigger_pb2_grpc
from gateway import GatewaySettings

from ..channels import BY_ADDRESS_FIELD
from ..errors import ClarionError, ConfigError, Violation
from ..intake.contract import USER_FIELDS, Kind
from ..intake.send_at import parse_send_at
from ..intake.typed import TYPED
from .common import Invocation, json_option, show_json

__all__ = ["trigger"]

_TLS = "https://"
_OPTIONS = {field: "--" + field.replace("_", "-") for field in BY_ADDRESS_FIELD}
_OWN_OPTIONS = {*BY_ADDRESS_FIELD, "external_id", "timezone", "locale"}
_Command = TypeVar("_Command", bound=Callable[..., None])


def _address_options(command: _Command) -> _Command:
    """Add an option for the address of each channel."""
    for field, spec in reversed(list(BY_ADDRESS_FIELD.items())):
        command = click.option(
            _OPTIONS[field], help=f"Address of the user, for campaigns with channel {spec.name}."
        )(command)
    return command


def _other_options(command: _Command) -> _Command:
    """Add an option for each text field of users that does not have its own option."""
    for name, field in reversed(list(USER_FIELDS.items())):
        if field.kind is Kind.TEXT and name not in _OWN_OPTIONS:
            option = "--" + name.replace("_", "-")
            command = click.option(option, default="", help=f"The field user.{name}.")(command)
    return command


@click.command()
@click.argument("campaign_id", type=int)
@click.option("--external-id", default="EXTERNAL_ID", show_default=True, help="Your own ID for the user.")
@_address_options
@click.option("--timezone", default="", help="IANA time zone.")
@click.option("--locale", default="", help="BCP 47 language tag.")
@_other_options
@click.option("--event", default="", help="JSON object for the templates.")
@click.option("--send-at", help="When to send it, as RFC 3339, such as 2026-12-24T18:00:00+01:00.")
@click.option(
    "--retain",
    type=click.Choice(["none"]),
    help="none: keep no content, such as of one-time codes.",
)
@click.option("--request-id", default="", help="Idempotency key: repeating the call does not send twice.")
@click.option(
    "--target",
    envvar="CLARION_TARGET",
    help="The gateway: host:port, or https://host:port for TLS.  [env: CLARION_TARGET]",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    help="Use TLS and trust the certificates in this PEM file.",
)
@click.option("--key-file", type=click.Path(path_type=Path), help="File with the API key.")
@json_option
@click.pass_obj
def trigger(
    invocation: Invocation,
    /,
    *,
    campaign_id: int,
    target: str | None,
    ca_file: Path | None,
    key_file: Path | None,
    as_json: bool,
    event: str,
    send_at: str | None,
    retain: str | None,
    request_id: str,
    **user: str | None,
) -> None:
    """Trigger CAMPAIGN_ID over gRPC.

    Set --email, --phone or --device-token, depending on the campaign's channel. The API key is the one in
    --key-file, otherwise in CLARION_API_KEY, otherwise the demo's.
    """
    from ..up.demo_project import DEMO_KEY_FILE  # noqa: PLC0415 - see server/cli.py

    settings = invocation.settings()
    secret = _secret(key_file, settings.data_dir / DEMO_KEY_FILE)
    to = target or _own_gateway(settings.gateway)
    more = {
        "event": event,
        "request_id": request_id,
        "send_at": _moment(send_at) if send_at else None,
        "retain": retain,
    }
    with _channel(to, ca_file) as channel:
        stub = trigger_pb2_grpc.TriggerServiceStub(channel)
        try:
            trigger_id = _call(stub, campaign_id, more, user, secret)
        except grpc.RpcError as error:
            raise ClarionError(_explain(error, to)) from error
    if as_json:
        show_json({"trigger_id": trigger_id})
    else:
        click.echo(trigger_id)


def _moment(text: str) -> dt.datetime:
    found = parse_send_at(text)
    if isinstance(found, Violation):
        raise ConfigError(f"--send-at: {found.description}")
    return found


def _own_gateway(settings: GatewaySettings) -> str:
    scheme = _TLS if settings.tls_certificate else ""
    return f"{scheme}{settings.host}:{settings.port}"


def _channel(target: str, ca_file: Path | None) -> grpc.Channel:
    where = target.removeprefix(_TLS).removeprefix("http://").rstrip("/")
    if ca_file is None and not target.startswith(_TLS):
        return grpc.insecure_channel(where)
    try:
        roots = ca_file.read_bytes() if ca_file else None
    except OSError as error:
        raise ConfigError(f"--ca-file: cannot read {ca_file}: {error.strerror}") from error
    return grpc.secure_channel(where, grpc.ssl_channel_credentials(roots))


def _secret(key_file: Path | None, demo: Path) -> str:
    given = os.environ.get("CLARION_API_KEY")
    if given and not key_file:
        return given
    path = key_file or demo
    try:
        return path.read_text(encoding="utf-8-sig").strip()  # some editors add a byte order mark
    except OSError as error:
        raise ConfigError(f"no API key: set CLARION_API_KEY ({path}: {error.strerror})") from error


def _call(
    stub: trigger_pb2_grpc.TriggerServiceStub,
    campaign_id: int,
    more: dict[str, Any],
    user: dict[str, str | None],
    secret: str,
) -> str:
    given = [name for name in BY_ADDRESS_FIELD if user[name] is not None]
    if not given:
        raise ConfigError(f"give one of {', '.join(_OPTIONS.values())}")
    members = {
        name: value or "" for name, value in user.items() if name not in BY_ADDRESS_FIELD or name == given[0]
    }
    call = TYPED[BY_ADDRESS_FIELD[given[0]].name]
    request = call.request(campaign_id=campaign_id, user=members, **more)
    method = getattr(stub, call.method)
    return str(method(request, metadata=(("authorization", f"Bearer {secret}"),), timeout=10).trigger_id)


def _explain(error: grpc.RpcError, target: str) -> str:
    """Return the error's message and its violations, one per line."""
    assert isinstance(error, grpc.Call)  # noqa: S101 - every RpcError of a stub is one
    status = rpc_status.from_call(error)
    if status is None and error.code() is grpc.StatusCode.UNAVAILABLE:
        if any(word in str(error.details()).lower() for word in ("ssl", "certificate", "handshake")):
            return (
                f"cannot verify the TLS certificate of {target}: set --ca-file to the certificates to "
                "trust, and --target to a host name in the gateway's certificate"
            )
        return (
            f"cannot connect to {target}; start Clarion with `clarion up`, or set --target to another address"
        )
    lines = [f"{error.code().name}: {error.details()}"]
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            lines += [f"  {v.field or 'body'}: {v.description}" for v in bad.field_violations]
    return "\n".join(lines)
