"""`clarion`: the command line. The commands are thin; see `server/commands/` for the groups.

What takes long to import is imported by the commands that need it: each group when it is asked for, `app`,
`up` and all below them in the commands themselves.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click

from gateway import GatewayError

from .commands.common import Invocation, run
from .config import LogSettings
from .errors import ClarionError, ConfigError, StoreUnavailable
from .process import logs
from .store.schema.migrate import migrate as migrate_database
from .up import demo

__all__ = ["main"]

_IN_MODULES = (
    "campaigns",
    "deliveries",
    "gateway",
    "keys",
    "projects",
    "suppressions",
    "trigger",
    "webhooks",
)
_WRONG = 2  # exit code: the caller's configuration or arguments
_FAILED = 1


class _Groups(click.Group):
    """The commands of this file, and those of `commands/`, each in a module of its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *_IN_MODULES})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its module is imported now."""
        if cmd_name not in _IN_MODULES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f".commands.{cmd_name}", __package__)
        found: click.Command = getattr(module, cmd_name)
        return found


@click.group(cls=_Groups, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="CLARION_CONFIG",
    help="The TOML file with the settings; ./clarion.toml if there is one.  [env: CLARION_CONFIG]",
)
@click.version_option(package_name="clarion")
@click.pass_context
def cli(context: click.Context, *, config: Path | None) -> None:
    """Take campaign triggers over gRPC and REST, and deliver them by email, text and push."""
    logs.configure(LogSettings(level="error", format="text"))  # a command's own output says the rest
    default = Path("clarion.toml")
    context.obj = Invocation(config or (default if default.exists() else None))


@cli.command()
@click.option(
    "--demo", "with_demo", is_flag=True, help="With a demo project: campaigns 44, 45, 46 and a key."
)
@click.pass_obj
def up(invocation: Invocation, *, with_demo: bool) -> None:
    """Run everything on this machine; Ctrl-C ends it."""
    from .up.plan import up as run_all  # noqa: PLC0415

    config = invocation.config or (demo.CONFIG if with_demo else None)
    settings = Invocation(config).settings()
    sys.exit(run(run_all(settings, config=config, with_demo=with_demo, say=_say)))


@cli.command()
@click.pass_obj
def serve(invocation: Invocation) -> None:
    """Run one gRPC server."""
    from .wiring.serve import serve  # noqa: PLC0415

    settings = invocation.settings()
    logs.configure(settings.log)
    run(serve(settings))


@cli.command()
@click.pass_obj
def dispatch(invocation: Invocation) -> None:
    """Run one dispatcher."""
    from .wiring.dispatch import dispatch  # noqa: PLC0415

    settings = invocation.settings()
    logs.configure(settings.log)
    run(dispatch(settings))


@cli.command()
@click.pass_obj
def migrate(invocation: Invocation) -> None:
    """Bring the database's schema up to date."""
    settings = invocation.settings()
    if not settings.database.url:
        raise ConfigError("database.url is empty; `clarion up` migrates its embedded database by itself")
    click.echo(f"database is at schema {run(migrate_database(settings.database.url))}")


def _say(text: str) -> None:
    click.echo(text)


def main() -> None:
    """Run the command line: exit 0, 1 (failed), or 2 (something given is wrong)."""
    try:
        cli(prog_name="clarion")
    except (ConfigError, GatewayError) as error:
        click.echo(f"clarion: {error}", err=True)
        sys.exit(_WRONG)
    except StoreUnavailable:
        click.echo(
            "clarion: the database cannot be reached; see database.url (CLARION_DATABASE_URL)", err=True
        )
        sys.exit(_FAILED)
    except ClarionError as error:
        click.echo(f"clarion: {error}", err=True)
        sys.exit(_FAILED)
    except BrokenPipeError:
        # Whoever read our output went away; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
