"""All commands of `clarion`, by their words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from server.cli import cli

__all__ = ["COMMANDS"]


def _commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from _commands(inner, (*words, name))


COMMANDS: Mapping[tuple[str, ...], click.Command] = dict(_commands(cli, ()))
