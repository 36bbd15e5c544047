"""Report wording that a pattern can find: `python tools/check_words.py` exits with 1 if it finds any.

Words and style in general are a matter of review. These patterns catch the habits that come back most often.
If a line is right as it is, add it to ALLOWED with its reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = {".css", ".html", ".lua", ".md", ".mjs", ".proto", ".py", ".sh", ".sql", ".toml", ".yaml", ""}
SKIPPED = {"LICENSE", "client/LICENSE", "tools/check_words.py"}
# What to write instead, by pattern. Letters only delimit a word, so that names like `_told` are found too.
HABITS = {
    r"(?<!there )\b(?:is|are|was|were|be) no (?!longer\b|later\b|earlier\b|more\b)[a-z]+": "is not a …",
    r"(?<![a-z])(?:stands|stood|stand) (?:in|here|there|beside|below|above|under|alone|at|on|as)\b": "is",
    r"(?<![a-z])(?:nobody|somebody|anybody|whoever)(?![a-z])": "the caller, an operator, another process",
    r"(?:^|[.:;] |[\"#] ?)Who [a-z]+": "name the subject: a caller that …",
    r"(?<![a-z])of (?:its|their) own\b": "its own",
    r"(?<![a-z])(?:call|calls|called|calling) off\b": "cancel",
    r"(?<![a-z])mend(?:s|ed|ing)?(?![a-z])": "fix",
    r"(?<![a-z])poke(?:s|d)?(?![a-z])": "notify",
    r"(?<![a-z])(?:tell|tells|told|telling)(?![a-z])": "return, report, notify, log",
    r"(?<![a-z])(?:hear|hears|heard)(?![a-z])": "receive",
    r"(?<![a-z])in vain\b": "without success",
    r"(?<![a-z])at the (?:most|least)\b": "at most, at least",
    r"(?<![a-z])so many(?![a-z])": "N, as many",
    r"(?<![a-z])beside(?![a-z])": "next to, in addition to",
    r"(?<![a-z])by (?:itself|themselves)\b": "on its own",
    r"(?<![a-z])(?:goes|go|went|going) on(?! to\b| for\b)(?![a-z])": "continues",
    r"(?<![a-z])(?:comes|come|came) (?:again|back)(?![a-z])": "returns, reconnects",
    r"(?<![a-z])(?:is|are|was|were) gone(?![a-z])": "is deleted, has ended",
    r'^\s*"""(?:Take|Tell|Say|Give(?! up)|Hear|Ask)(?![a-z])': "describe the object, arguments under Args:",
}
# Substrings of lines that are right as they are, each with its reason.
ALLOWED: dict[str, str] = {
    "# check-words: example": "a line that a test of this check needs",
    "value.poke()": "a method of python-liquid",
    ".tell()": "a method of files",
    "354 go on": "a reply of SMTP",
    "user nobody": "the Unix user",
    "user `nobody`": "the Unix user",
    "be_nobody": "the Unix user",
    "as_nobody": "the Unix user",
    '"nobody"': "the Unix user",
    "nobody.pw_": "the Unix user",
}


def findings(name: str, text: str) -> Iterator[str]:
    """Yield one message for each habit in a file."""
    for number, line in enumerate(text.splitlines(), start=1):
        if any(part in line for part in ALLOWED):
            continue
        for pattern, instead in HABITS.items():
            for found in re.finditer(pattern, line, re.IGNORECASE if pattern.startswith("(?<!") else 0):
                yield f"{name}:{number}: {found[0].strip()!r}: write: {instead}"


def tracked() -> list[Path]:
    """Return the files that git tracks.

    Raises:
        FileNotFoundError: git is not installed.
    """
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git is needed to list the files; install it")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


def main() -> int:
    """Check every tracked text file; return the exit code."""
    found = [
        message
        for path in tracked()
        if path.suffix in SUFFIXES and (name := str(path.relative_to(ROOT))) not in SKIPPED and path.is_file()
        for message in findings(name, path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
