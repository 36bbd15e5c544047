"""Programs for a supervisor to run, and what they write."""

from __future__ import annotations

from pathlib import Path

from tests.kit.until import until

__all__ = ["FOREVER", "STUBBORN", "written"]

FOREVER = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + FOREVER


async def written(path: Path, part: str, times: int = 1) -> str:
    """Return the text of a file once another process has written this part."""

    def text() -> str:
        found = path.read_text(errors="replace") if path.exists() else ""
        return found if found.count(part) >= times else ""

    return await until(text, f"{part!r} in {path}")
