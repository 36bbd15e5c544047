"""`clarion health`."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ..process.local_health import PROCESSES, check_local
from .common import Invocation, run

__all__ = ["health"]

_UNHEALTHY = 1


@click.command()
@click.argument("process", type=click.Choice(list(PROCESSES)), required=False)
@click.pass_context
def health(context: click.Context, *, process: str | None) -> None:
    """Check the processes of this machine, for containers.

    A process is checked if something listens at its address in the settings. Exit with 0 if all of these
    are ready, and with 1 if one is not or if none listens. With PROCESS, check only that process, and exit
    with 1 if it does not listen.
    """
    invocation: Invocation = context.obj
    settings = invocation.settings()
    if process == "dispatcher" and not settings.dispatch.metrics:
        raise ConfigError(
            "dispatch.metrics is empty; set it to an address at which the dispatcher can be checked"
        )
    found = run(check_local(settings, process))
    if not found:
        click.echo("no process of Clarion listens on this machine", err=True)
        context.exit(_UNHEALTHY)
    for name, problem in found.items():
        click.echo(f"{name}: {problem or 'ready'}", err=bool(problem))
    context.exit(_UNHEALTHY if any(found.values()) else 0)
