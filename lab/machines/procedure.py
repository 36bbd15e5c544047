"""Runs the commands of docs/how-to/fail-over.md, as they are written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import LabError
from ..process import output_of

__all__ = ["BRING_BACK", "FAIL_OVER", "block", "run_block"]

FAIL_OVER, BRING_BACK = "Fail over", "Bring the old machine back"
_PAGE = Path(__file__).parents[2] / "docs/how-to/fail-over.md"
_SECONDS = 120.0


def block(section: str) -> str:
    """Return the commands of a section.

    Raises:
        LabError: The page has no such section, or the section no commands.
    """
    text = _PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    commands = text.partition("\n```sh\n")[2].partition("```")[0]
    if not commands:
        raise LabError(f'{_PAGE.name} has no commands in the section "{section}"')
    return commands


async def run_block(section: str, launcher: Sequence[str], env: Mapping[str, str]) -> str:
    """Run the commands of a section; return what they print.

    Args:
        section: Its heading.
        launcher: What to put before the shell, such as to run it as another user.
        env: The whole environment.

    Raises:
        LabError: A command failed.
    """
    command = (*launcher, "sh", "-c", block(section))
    return (await output_of(f'"{section}"', command, _SECONDS, env=env)).strip()
