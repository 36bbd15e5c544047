"""An SMTP server that notes each mail in a file before it says yes.

`python -m lab.product.faults_sink PORT FILE SEED`.

It says yes after a random while, so that a kill meets mails that are taken and not yet answered.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LONGEST_YES", "Mail", "read_mails"]

LONGEST_YES = 0.1
"""Seconds between a mail and the yes to it, at most."""
_HEADERS = re.compile(rb"^(message-id|subject): *([^\r]*)", re.IGNORECASE | re.MULTILINE)
_ANSWERS = {
    b"EHLO": b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}
_OK = b"250 2.0.0 OK\r\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """What is noted of a mail: when it came, its Message-ID, and its subject."""

    at: float
    message_id: str
    subject: str


def read_mails(file: Path) -> list[Mail]:
    """Return all mails that the sink has noted, in the order of their arrival."""
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    fields = (line.split("\t") for line in lines)
    return [Mail(float(at), message_id, subject) for at, message_id, subject in fields]


class _Sink:
    """Serves connections, and notes their mails in one file."""

    def __init__(self, file: int, chance: random.Random) -> None:
        self._file = file
        self._chance = chance

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # whoever sent was killed
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink.example\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            writer.write(_ANSWERS.get(verb.rstrip(), _OK))
            if verb == b"QUIT":
                return
            if verb == b"DATA":
                self._note(await reader.readuntil(b"\r\n.\r\n"))
                await asyncio.sleep(self._chance.uniform(0, LONGEST_YES))
                writer.write(_OK)

    def _note(self, mail: bytes) -> None:
        """Note a mail in one write, which cannot be cut in two; it is in the file when this returns."""
        head = mail.partition(b"\r\n\r\n")[0]
        found = {name.lower(): value for name, value in _HEADERS.findall(head)}
        fields = (f"{time.time():.6f}".encode(), found[b"message-id"], found[b"subject"])
        os.write(self._file, b"\t".join(fields) + b"\n")


async def _run(port: int, path: str, seed: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sink = _Sink(file, random.Random(seed))  # noqa: S311 - to repeat a run, not to keep a secret
    server = await asyncio.start_server(sink.serve, "127.0.0.1", port, limit=4 * 1024 * 1024)
    print("taking mail", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), *sys.argv[2:]))
