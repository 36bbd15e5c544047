"""`clarion gateway`."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import click

import gateway as envoy

from ..config import Settings
from .common import Invocation, run

__all__ = ["gateway"]

_SIGNALLED = 128  # exit codes above it name a signal, as in a shell


@click.group()
def gateway() -> None:
    """Print, check and run the Envoy gateway."""


@gateway.command(name="print")
@click.pass_obj
def show(invocation: Invocation) -> None:
    """Print the exact Envoy configuration that runs."""
    click.echo(envoy.render(_options(invocation.settings())))


@gateway.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Let Envoy itself check the configuration."""
    run(envoy.check(_options(invocation.settings())))
    click.echo("Envoy accepts the configuration")


@gateway.command(name="run")
@click.option("--admin-socket", type=click.Path(path_type=Path), help="Where Envoy's admin socket goes.")
@click.option("--spare", default="", help="One more upstream, used only while it answers.")
@click.pass_context
def run_gateway(context: click.Context, *, admin_socket: Path | None, spare: str) -> None:
    """Run Envoy until SIGTERM; calls in flight are ended well.

    At SIGHUP the settings are read again, and a new Envoy takes over without a failed call.
    """
    with tempfile.TemporaryDirectory(prefix="clarion-gateway-") as folder:
        socket = admin_socket or Path(folder) / "admin.sock"

        def load() -> envoy.GatewayOptions:
            return _options(context.obj.settings(), admin_socket=socket, spare=spare)

        code = run(envoy.run_gateway(load(), workdir=Path(folder), reload=load))
    if code < 0:
        click.echo(f"Envoy was ended by {signal.Signals(-code).name}", err=True)
    context.exit(code if code >= 0 else _SIGNALLED - code)


def _options(
    settings: Settings, *, admin_socket: Path | None = None, spare: str = ""
) -> envoy.GatewayOptions:
    from ..wiring.gateway import gateway_options  # noqa: PLC0415 - see server/cli.py

    return gateway_options(settings, admin_socket=admin_socket, spare=spare)
