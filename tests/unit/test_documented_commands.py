"""Every `clarion` command on a page exists, with its options and arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from server.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(?:^|[;|&(]|\$\()\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?clarion ", re.MULTILINE)
NUMBER = "0196b0a4-5c4f-7e0a-9d3c-3f6f1c2b7a55"  # the same in each process of a test run
PLACEHOLDER = re.compile(r"([A-Z]+_)?ID")
SUBSTITUTION = re.compile(r"\$\([^)]*\)|\$\w+")


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `clarion` of each command in the page's shell blocks."""
    for _, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        text = SUBSTITUTION.sub("VALUE", re.sub(r"(^|\s)#.*", "", block.replace("\\\n", " ")))
        for found in PROGRAM.finditer(text):
            yield [NUMBER if PLACEHOLDER.fullmatch(word) else word for word in words(text[found.end() :])]


def words(text: str) -> Iterator[str]:
    """Yield the words of a text up to the end of its first command."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    for word in lexer:
        if word and word[0] in lexer.punctuation_chars:
            return
        yield word


DOCUMENTED = [
    pytest.param(command, id=f"{page.name}: {' '.join(command)[:50]}")
    for page in PAGES
    for command in commands(page)
]


def check(command: click.Command, given: Sequence[str], parent: click.Context | None = None) -> None:
    """Parse a command line without running it.

    Raises:
        click.ClickException: The command line is wrong.
    """
    with command.make_context(command.name, list(given), parent=parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            _, inner, after = command.resolve_command(context, rest)
            assert inner is not None
            check(inner, after, context)


@pytest.mark.parametrize("command", DOCUMENTED)
def test_documented_command_is_valid(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("campaigns.yaml", "clarion.toml"):
        (tmp_path / name).touch()
    (tmp_path / "event.json").write_text("{}")
    check(cli, command)


def test_commands_are_found() -> None:
    assert len(DOCUMENTED) > 25


def test_unknown_option_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        check(cli, ["keys", "list", "--all-of-them"])
