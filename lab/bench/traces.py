"""`python -m lab.bench.traces`: CPU per trigger and per mail with traces, compared with none.

Three instances of this checkout get the same triggers alternately: without traces, with traces of which no
call is recorded, and with all calls recorded. Exit codes: 0; 2 if the run failed. See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import click

from ..command import HELP, data_option, run_command, temporary_run
from ..report import facts
from .compare import Checkout, as_text, compare

__all__ = ["main"]

_OFF, _UNRECORDED, _RECORDED = "off", "unrecorded", "recorded"
_ROOT = Path(__file__).parents[2]
_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"


@click.command(context_settings=HELP)
@click.option("--rounds", type=click.IntRange(1, 100), default=9)
@click.option(
    "--triggers", type=click.IntRange(50, 100_000), default=3000, help="Triggers per instance and round."
)
@data_option
def main(rounds: int, triggers: int, data: Path) -> None:
    """Compare CPU per trigger and per mail without traces, with unrecorded calls, and with recorded ones."""
    run_command(_run(rounds, triggers, data))


async def _run(rounds: int, triggers: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        async with _collector() as url:
            on = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
            none = {**on, "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
            variables = {_OFF: {}, _UNRECORDED: none, _RECORDED: on}
            instances = {name: Checkout(_ROOT, each) for name, each in variables.items()}
            samples = await compare(run, instances, triggers, rounds)
    for name in (_UNRECORDED, _RECORDED):
        click.echo(f"\n{as_text({one: samples[one] for one in (_OFF, name)})}")
    click.echo(f"\n{rounds} rounds of {triggers} triggers. {facts(load_before)}")
    return 0


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Run a collector that accepts all spans, and yield its URL."""
    server = await asyncio.start_server(_accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reply to the requests of one connection, whose bodies have a length or, from Envoy, are chunked."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readexactly(2)
            else:
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
            writer.write(_REPLY)
    writer.close()


if __name__ == "__main__":
    main()
