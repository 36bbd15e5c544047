"""Sets how soon a TCP connection ends if the network to the other side is lost."""

from __future__ import annotations

import socket

__all__ = ["notice_lost_network"]

_SOCKET_OPTIONS = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""Seconds (for the last one, milliseconds), so that a lost network ends a connection within about 10 s."""


def notice_lost_network(connected: socket.socket) -> None:
    """Set the TCP time limits that the system supports; do nothing for a Unix socket."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS.items():
        if number := getattr(socket, name, None):
            connected.setsockopt(socket.IPPROTO_TCP, number, value)
