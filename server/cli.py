"""Defines the command line `clarion`. Each group of commands has a module in `server/commands/`.

Modules that are slow to import are imported only by the commands that need them: a group's module when the
group is used, `wiring` and `up` inside the commands.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from gateway import GatewayError

from .commands.common import Invocation, run
from .config import LogSettings
from .domain.wording import quoted
from .errors import DATABASE_AWAY, ClarionError, ConfigError, StoreUnavailable
from .process import logs
from .store.replication import NotReplicated
from .store.schema.migrate import migrate as migrate_database
from .store.schema.plan import plan_migration
from .store.schema.version import HEAD
from .up import demo

__all__ = ["GROUPS", "main"]

GROUPS = (
    "audit",
    "campaigns",
    "deliveries",
    "gateway",
    "health",
    "hold",
    "keys",
    "operations",
    "operators",
    "people",
    "projects",
    "providers",
    "release",
    "statistics",
    "status",
    "suppressions",
    "trigger",
    "webhooks",
)
"""The command groups. Each is defined in the module of the same name."""
_USAGE = 2  # exit code for an invalid configuration or invalid arguments
_FAILED = 1


class _Groups(click.Group):
    """Finds commands in this file and in `commands/`, whose modules are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *GROUPS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command after importing its module."""
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f".commands.{cmd_name}", __package__)
        found: click.Command = getattr(module, cmd_name)
        return found


@click.group(cls=_Groups, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="CLARION_CONFIG",
    help="TOML file with the settings; by default ./clarion.toml, if it exists.  [env: CLARION_CONFIG]",
)
@click.version_option(package_name="clarion")
@click.pass_context
def cli(context: click.Context, *, config: Path | None) -> None:
    """Accept campaign triggers over gRPC and REST, and deliver them by email, text and push."""
    logs.configure(LogSettings(level="error", format="text"))  # commands print their own output
    default = Path("clarion.toml")
    context.obj = Invocation(config or (default if default.exists() else None))


@cli.command()
@click.option(
    "--demo",
    "with_demo",
    is_flag=True,
    help="Create a demo project with campaigns 44, 45 and 46 and an API key.",
)
@click.option(
    "--hold", is_flag=True, help="Hold all sending before the dispatcher starts, until `clarion release`."
)
@click.pass_obj
def up(invocation: Invocation, *, with_demo: bool, hold: bool) -> None:
    """Run all of Clarion on this machine until Ctrl-C."""
    from .up.plan import up as run_all  # noqa: PLC0415

    config = invocation.config or (demo.CONFIG if with_demo else None)
    settings = Invocation(config).settings()
    sys.exit(run(run_all(settings, config=config, with_demo=with_demo, hold=hold, notify=_notify)))


@cli.command()
@click.pass_obj
def serve(invocation: Invocation) -> None:
    """Run one gRPC server, which accepts triggers."""
    from .wiring.serve import serve  # noqa: PLC0415

    settings = invocation.settings()
    logs.configure(settings.log)
    run(serve(settings, invocation.config))


@cli.command()
@click.pass_obj
def dispatch(invocation: Invocation) -> None:
    """Run one dispatcher, which delivers messages."""
    from .wiring.dispatch import dispatch  # noqa: PLC0415

    settings = invocation.settings()
    logs.configure(settings.log)
    run(dispatch(settings, invocation.config))


@cli.command()
@click.pass_obj
def portal(invocation: Invocation) -> None:
    """Run the portal, the web interface for operators.

    It calls the servers, and needs no access to the database.
    """
    from .wiring.run_portal import run_portal  # noqa: PLC0415

    settings = invocation.settings()
    logs.configure(settings.log)
    run(run_portal(settings.portal))


@cli.command()
@click.option("--plan", "only_plan", is_flag=True, help="Show what it would do, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Show the plan as JSON. Requires --plan.")
@click.pass_obj
def migrate(invocation: Invocation, *, only_plan: bool, as_json: bool) -> None:
    """Update the database schema to this version."""
    if as_json and not only_plan:
        raise click.UsageError("--json requires --plan")
    settings = invocation.settings()
    if not settings.database.url:
        raise ConfigError(
            "database.url is empty; set it, or use `clarion up`, which migrates its embedded database"
        )
    logs.configure(LogSettings(level="info", format="text"))  # warnings, and the indexes that it builds
    if only_plan:
        plan = run(plan_migration(settings.database.url))
        click.echo(json.dumps(plan.as_data(), indent=2) if as_json else "\n".join(plan.lines()))
        return
    version = run(migrate_database(settings.database.url))
    newer = f", of a newer version of Clarion; this one is for {HEAD}, can use it, and changed nothing"
    click.echo(f"the database has schema version {version}{newer if version > HEAD else ''}")


def _notify(text: str) -> None:
    click.echo(text)


def _require_utf_8(arguments: Sequence[str]) -> None:
    """Check that the arguments are text, which the database and gRPC require.

    Raises:
        ConfigError: One is not; in Python, its bytes that are not UTF-8 are halves of surrogate pairs.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"the argument {quoted(argument)} is not UTF-8") from error


def main() -> None:
    """Run the command line. Exit with 1 after a failure, 2 for an invalid configuration or arguments."""
    try:
        _require_utf_8(sys.argv[1:])
        cli(prog_name="clarion")
    except (ConfigError, GatewayError) as error:
        click.echo(f"clarion: {error}", err=True)
        sys.exit(_USAGE)
    except NotReplicated as error:
        click.echo(f"clarion: {error}", err=True)
        sys.exit(_FAILED)
    except StoreUnavailable:
        click.echo(f"clarion: {DATABASE_AWAY}; check database.url (CLARION_DATABASE_URL)", err=True)
        sys.exit(_FAILED)
    except ClarionError as error:
        click.echo(f"clarion: {error}", err=True)
        sys.exit(_FAILED)
    except BrokenPipeError:
        # The reader of our output closed the pipe. Without this, Python would report a second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
