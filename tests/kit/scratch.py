"""A copy of the product that is changed by following the instructions on a page."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.up import ClarionUp
from tests.kit.stack import Stack

__all__ = ["Scratch", "ScratchStack"]

ROOT = Path(__file__).parents[2]
PARTS = ("server", "gateway", "protos", "client", "docs", "tests")
BLOCK = re.compile(r"^( *)```(diff|sh)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HUNK = re.compile(r"^@@(?: (\d+) places)? *\n", re.MULTILINE)


class Scratch:
    """A copy of the product that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "CHANGELOG.md"):
            shutil.copy(ROOT / name, folder)

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(str(self.folder / part) for part in ("", "protos", "client"))
        return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def follow(self, page: str, heading: str) -> set[str]:
        """Do what a section's blocks of `diff` and `sh` instruct, in their order.

        Args:
            page: The path of a Markdown page in the repository.
            heading: The section's heading, with its number signs.

        Returns:
            The paths of the files that were changed or added.

        Raises:
            AssertionError: The section has no blocks, or one does not fit the files.
        """
        section = (ROOT / page).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
        level = heading.split(maxsplit=1)[0]
        blocks = BLOCK.findall(re.split(rf"^#{{1,{len(level)}}} ", section, flags=re.MULTILINE)[0])
        assert blocks, f"{page} has no instructions below {heading!r}"
        before = self._contents()
        for indent, language, text in blocks:
            block = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            if language == "sh":
                subprocess.run(["sh", "-euc", block], cwd=self.folder, check=True)
            else:
                self._patch(block)
        after = self._contents()
        assert before.keys() <= after.keys()
        return {name for name, content in after.items() if before.get(name) != content}

    def build(self) -> None:
        """Do what `make proto` does."""
        for words, folder in ((["protos/build.py"], ""), (["-m", "generate"], "protos")):
            at = self.folder / folder
            subprocess.run([sys.executable, *words], cwd=at, env=self.environment, check=True)

    def test(self, *words: str) -> None:
        """Run tests of the copy."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        run = subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, check=False)
        assert run.returncode == 0, run.stdout.decode()

    def python(self, code: str, *arguments: str) -> str:
        """Run code in the copy; return what it prints."""
        words = [sys.executable, "-c", code, *arguments]
        run = subprocess.run(words, env=self.environment, cwd=self.folder, capture_output=True, check=False)
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout.decode()

    def _contents(self) -> dict[str, bytes]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def _patch(self, block: str) -> None:
        for name, change in _files(block):
            path = self.folder / name
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            for places, old, new in _hunks(change):
                if old:
                    assert text.count(old) == places, f"{name} must have {places} times:\n{old}"
                    text = text.replace(old, new)
                else:
                    text += new
            path.write_text(text, encoding="utf-8")


@dataclasses.dataclass
class ScratchStack(Stack):
    """A `clarion up` of a copy."""

    python_path: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PYTHONPATH": self.python_path}

    async def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Run a command of the copy, which no fork of this one can be."""
        return await ClarionUp.run(self, *words, **env)


def _files(block: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each file in a diff, with the lines below its header."""
    start, *parts = re.split(r"^\+\+\+ (\S+)\n", block, flags=re.MULTILINE)
    assert not start, f"a diff begins with `+++ path`, not with {start!r}"
    yield from zip(parts[::2], parts[1::2], strict=True)


def _hunks(change: str) -> Iterator[tuple[int, str, str]]:
    """Yield in how many places a file has the old lines, these lines, and the new ones.

    A hunk without old lines is added to the end of the file.
    """
    first, *rest = HUNK.split(change)
    for places, lines in [(None, first), *zip(rest[::2], rest[1::2], strict=True)]:
        split = lines.splitlines(keepends=True)
        old = "".join(line[1:] or "\n" for line in split if not line.startswith("+"))
        new = "".join(line[1:] or "\n" for line in split if not line.startswith("-"))
        if split:
            yield int(places or 1), old, new
