"""`python -m lab.faults.hanging_names …`: `clarion …`, with a DNS that does not answer for some names."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from server.cli import main

__all__ = ["DOMAIN", "HANGS"]

DOMAIN = ".hangs.example"
"""Lookups of names in this domain hang."""
HANGS = "hanging lookup of "
"""Logged at the start of each lookup that hangs, before the name."""
_SECONDS = 30.0
"""More than the 20 seconds that glibc waits for two silent name servers by default (resolv.conf(5))."""


def _hanging(lookup: Any) -> Any:
    def getaddrinfo(host: object, *args: Any, **options: Any) -> Any:
        if str(host).endswith(DOMAIN):
            print(f"{HANGS}{host}", file=sys.stderr, flush=True)
            time.sleep(_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return lookup(host, *args, **options)

    return getaddrinfo


if __name__ == "__main__":
    socket.getaddrinfo = _hanging(socket.getaddrinfo)
    main()
