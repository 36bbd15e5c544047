"""`clarion gateway`."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from msgspec.structs import replace

import gateway as envoy

from ..process import logs
from ..process.exposure import exposures
from .common import Invocation, run

__all__ = ["gateway"]

_NEEDS_FOLDER = "an Envoy needs TLS files next to this configuration; write all of them with --folder DIR"
_SIGNALLED = 128  # as in a shell, an exit code above 128 is 128 plus the number of the signal


@click.group()
def gateway() -> None:
    """Print, check and run the Envoy gateway."""


@gateway.command(name="print")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write it to this folder as envoy.json, with the TLS files that it refers to.",
)
@click.pass_obj
def show(invocation: Invocation, folder: Path | None) -> None:
    """Print the Envoy configuration that these settings produce."""
    settings = invocation.settings().gateway
    if folder:
        click.echo(envoy.export(settings, folder))
    else:
        click.echo(envoy.render(settings))
        if settings.uses_tls:
            click.echo(f"clarion: warning: {_NEEDS_FOLDER}", err=True)
    _warn_about_traces()


@gateway.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Let Envoy validate the configuration."""
    run(envoy.check(invocation.settings().gateway))
    click.echo("Envoy accepts the configuration")
    _warn_about_traces()


@gateway.command(name="run")
@click.pass_context
def run_gateway(context: click.Context) -> None:
    """Run Envoy until SIGTERM, then finish the calls in flight. If Envoy is killed, start it again.

    On SIGHUP, read the settings again and hand over to a new Envoy without failing a call.
    """
    from ..wiring.run_gateway import run_gateway  # noqa: PLC0415 - slow to import

    logs.configure(context.obj.settings().log)
    with envoy.private_folder() as folder:

        def load() -> envoy.GatewaySettings:
            settings: envoy.GatewaySettings = context.obj.settings().gateway
            return replace(settings, admin_socket=settings.admin_socket or f"{folder}/admin.sock")

        settings = load()
        for warning in exposures(context.obj.config):
            click.echo(f"clarion: warning: {warning}", err=True)
        _warn_about_traces()
        code = run(run_gateway(settings, folder, load))
    if code < 0:
        click.echo(f"Envoy was ended by {signal.Signals(-code).name}", err=True)
    context.exit(code if code >= 0 else _SIGNALLED - code)


def _warn_about_traces() -> None:
    """Warn if a variable of OpenTelemetry is invalid, so that no spans are sent."""
    if problem := envoy.otlp_problem():
        click.echo(f"clarion: warning: {problem}", err=True)
