"""Delays and loses IP packets: `python -m lab.machines.relay DELAY LOSS`.

`tc netem` does this in the kernel, but many kernels lack it. Hosts route the packets of impaired links to the
namespace of this relay, whose kernel passes them to a TUN device. This process reads them there, and writes
those that are not lost back after the delay; then the kernel forwards them.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import struct
import subprocess
from pathlib import Path

import click

__all__ = ["main"]

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_DEVICE, _TABLE = "relay0", "100"
_BATCH, _MTU = 64, 65536


def _device() -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    for words in (
        ("link", "set", _DEVICE, "up"),
        ("rule", "add", "iif", "eth0", "lookup", _TABLE),
        ("route", "add", "default", "dev", _DEVICE, "table", _TABLE),
    ):
        subprocess.run(["ip", *words], check=True)  # noqa: S607 - found in the PATH, as all commands
    for setting, value in (
        ("ip_forward", 1),
        ("conf/eth0/send_redirects", 0),
        ("conf/all/send_redirects", 0),
    ):
        Path(f"/proc/sys/net/ipv4/{setting}").write_text(str(value))
    return tun


async def _carry(tun: int, delay: float, loss: float) -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random()  # noqa: S311 - which packets are lost is not a secret

    def read() -> None:
        for _ in range(_BATCH):
            try:
                packet = os.read(tun, _MTU)
            except BlockingIOError:
                return
            if chance.random() >= loss:
                loop.call_later(delay, os.write, tun, packet)

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_reader(tun, read)
    print("relaying", flush=True)
    await ended.wait()


@click.command()
@click.argument("delay", type=float)
@click.argument("loss", type=float)
def main(*, delay: float, loss: float) -> None:
    """Carry packets until SIGTERM."""
    asyncio.run(_carry(_device(), delay, loss))


if __name__ == "__main__":
    main()
