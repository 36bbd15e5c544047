"""The priority of the portal's process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.kit.commands import run_program

_PROGRAM = """
import os, pathlib
from portal.run import lower_priority
lower_priority()
print(os.getpriority(os.PRIO_PROCESS, 0), pathlib.Path("/proc/self/autogroup").read_text())
"""


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel does not group processes by session"
)
async def test_it_is_lower_than_that_of_other_sessions() -> None:
    result = await run_program(sys.executable, "-c", _PROGRAM, folder=Path.cwd(), env=os.environ)
    shown = result.out.split()
    assert (shown[0], shown[-2:]) == (str(os.getpriority(os.PRIO_PROCESS, 0) + 5), ["nice", "5"])
