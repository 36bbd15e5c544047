"""`python -m lab.bench.validation`: microseconds that accepting one trigger takes. See docs/benchmarks.md.

No server runs: the benchmark calls the server's functions directly. Each call has a different request, so
that nothing is cached from earlier calls, except where a row says so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import platform
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import click
from google.api import httpbody_pb2

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from server.api.guard import Guard
from server.api.triggers import TriggerServicer
from server.channels import CHANNELS
from server.channels.email_address import email_problem
from server.channels.text import phone_problem
from server.domain.campaign import Channel
from server.domain.key import Scope
from server.domain.limit import Limit, RateLimiter
from server.domain.locale import normal_locale
from server.intake import strict_json
from server.intake.accept import accept_body, accept_item, accept_message
from server.intake.caller import Caller
from server.intake.rules import check_rules
from server.intake.strict_body import parse_body, to_request
from server.intake.timezones import timezone_problem
from server.intake.validate import validate_body

from .stand_ins import IDS, KEY, Catalog, Context, Details, Writer
from .worst_bodies import WORST, answered

__all__ = ["main"]

TARGET = 60.0
"""Microseconds for a REST call, from the body to a valid trigger."""
MAX_RATIO = 1.3
"""How much more a single call may take than an item of a batch."""
_CALLS = 2000  # more than the locale's cache holds, so that a second round finds nothing in it
_SLICE = 200
"""Calls in a row of each of two functions that are compared; a divisor of `_CALLS`."""
_EVENT = '"event": {"order_id": 1234567890123, "random_field": "value"}'
_PACKAGES = ("protovalidate", "msgspec", "email-validator", "phonenumbers", "langcodes")

Row = tuple[str, float]
Measured = tuple[Callable[[Any], object], Sequence[Any]]
"""A function, and the inputs of its calls."""


_CATALOG = Catalog()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", type=click.IntRange(1, 1000), default=15)
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def main(rounds: int, markdown: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Measure what accepting a trigger costs; exit with 1 if a target is missed."""
    wholes = [row for channel in Channel for row in _whole(channel, rounds)]
    singles, ratios = _singles_and_items(rounds)
    found = [*_parts(rounds), *wholes, *singles, _with_key(rounds), _guarded(rounds), *_worst(rounds)]
    for name, cost in [("check", None), *found]:
        text = "µs" if cost is None else f"{cost:.2f}"
        click.echo(f"| {name} | {text} |" if markdown else f"{name:<52}{text:>8}")
        if markdown and cost is None:
            click.echo("| --- | ---: |")
    worst, ratio = max(cost for _, cost in wholes), max(ratios)
    met = "met" if worst < TARGET else "MISSED"
    click.echo(f"\nAt most {worst:.1f} µs for each trigger; target {TARGET:g}: {met}.")
    near = "met" if ratio <= MAX_RATIO else "MISSED"
    click.echo(f"A single call takes {ratio:.2f} of an item of a batch; target {MAX_RATIO:g}: {near}.")
    click.echo(f"\n{_facts(rounds)}")
    sys.exit(0 if worst < TARGET and ratio <= MAX_RATIO else 1)


def bodies(channel: Channel, *, locale: str = "en") -> list[bytes]:
    """Return REST bodies of one channel, no two alike; `{}` in the locale stands for a number."""
    addresses = {
        Channel.EMAIL: "user.name+{}@mail.example.com",
        Channel.TEXT: "+1202555{:04}",
        Channel.PUSH: "fQw4t9zXR{:05}:APA91b" + "Hk3_x-Z9" * 17,
    }
    name, address = CHANNELS[channel].address.field, addresses[channel]
    return [
        f'{{"user": {{"external_id": "customer-{number}", "{name}": "{address.format(number)}", '
        f'"timezone": "America/Chicago", "locale": "{locale.format(number)}"}}, {_EVENT}}}'.encode()
        for number in range(_CALLS)
    ]


def _caller() -> Caller:
    return Caller(_CATALOG, KEY, "", dt.datetime.now(dt.UTC))


def _single(channel: Channel, key: str | None = None) -> Callable[[bytes], object]:
    """Return what the server does with the body of a REST call."""
    campaign_id = str(IDS[channel])
    return lambda body: accept_body(_caller(), campaign_id, body, key)


def _abroad(body: bytes) -> bytes:
    return body.replace(b"mail.example.com", "münchen.de".encode())


def _whole(channel: Channel, rounds: int) -> list[Row]:
    kinds = {"": "en", ", locale never seen before": "en-x-{}"}
    return [
        (f"**REST, {channel}{kind}**", _cost(_single(channel), bodies(channel, locale=locale), rounds))
        for kind, locale in kinds.items()
    ]


def _singles_and_items(rounds: int) -> tuple[list[Row], list[float]]:
    """Return the costs of single calls and of batch items, and the ratios of the two."""
    rows: list[Row] = []
    ratios = []
    for channel in Channel:
        singles = bodies(channel)
        items = [b'{"campaign_id": %d, %s' % (IDS[channel], body[1:]) for body in singles]
        requests = [to_request(IDS[channel], channel, parse_body(body)) for body in singles]
        of_batch = _caller()
        measured = {
            "REST": _alternated((_single(channel), singles), (partial(accept_item, of_batch), items), rounds),
            "typed": _alternated(
                (lambda request: accept_message(_caller(), request), requests),
                (partial(accept_message, of_batch), requests),
                rounds,
            ),
        }
        for name, (single, item, ratio) in measured.items():
            rows += [
                (f"{name}, {channel}, single call", single),
                (f"{name}, {channel}, item of a batch", item),
            ]
            ratios.append(ratio)
    return rows, ratios


def _alternated(one: Measured, other: Measured, rounds: int) -> tuple[float, float, float]:
    """Return the costs of two functions, and the ratio of the first to the second.

    They alternate in short slices, and the ratio is the median of the slices' ratios: on a shared machine,
    the same code takes twice as long for seconds at a time.
    """
    costs = []
    for number in range(rounds * _CALLS // _SLICE):
        part = slice(number * _SLICE % _CALLS, number * _SLICE % _CALLS + _SLICE)
        costs.append([_cost(called, inputs[part], 1) for called, inputs in (one, other)])
    medians = [statistics.median(side) for side in zip(*costs, strict=True)]
    return medians[0], medians[1], statistics.median(single / item for single, item in costs)


def _with_key(rounds: int) -> Row:
    """Return the cost of a REST call with an idempotency key, whose content is compared by value."""
    called = _single(Channel.EMAIL, "5f0c6f1e-0c1a-4b52-9d5d-2a1f0e9f7a11")
    return "REST, email, single call with an idempotency key", _cost(called, bodies(Channel.EMAIL), rounds)


def _guarded(rounds: int) -> Row:
    """Return the cost of a REST call from gRPC's bytes to the writer, with the guard."""
    limits = RateLimiter(per_key=Limit(1e9, 10**9), per_project=Limit(1e9, 10**9))
    scopes = {"clarion.v1.TriggerService": Scope.TRIGGER}
    used: set[uuid.UUID] = set()
    guard = Guard(_CATALOG, scopes, deadline=10, limits=limits, max_concurrent=10, note_use=used.add)
    unused: Any = None
    servicer = TriggerServicer(_CATALOG, Writer(), unused, limits)
    trigger_pb2_grpc.add_TriggerServiceServicer_to_server(servicer, guard)
    headers = (("authorization", f"Bearer sk_{uuid.uuid4()}"), ("user-agent", "bench"))
    requests = [
        pb.TriggerCampaignRequest(
            campaign_id=str(IDS[Channel.EMAIL]), body=httpbody_pb2.HttpBody(data=body)
        ).SerializeToString()
        for body in bodies(Channel.EMAIL)
    ]

    async def call(raws: Sequence[bytes]) -> None:
        details: Any = Details("/clarion.v1.TriggerService/TriggerCampaign", headers)
        for raw in raws:
            handler = guard.service(details)
            handler.response_serializer(await handler.unary_unary(raw, Context()))

    cost = _cost(lambda raws: asyncio.run(call(raws)), [requests], rounds) / len(requests)
    return "REST, email, single call with the guard", cost


def _parts(rounds: int) -> list[Row]:
    def row(name: str, called: Callable[[Any], object], inputs: Iterable[Any]) -> Row:
        return name, _cost(called, list(inputs), rounds)

    numbers = range(_CALLS)
    mails = bodies(Channel.EMAIL)
    decoded = [parse_body(body) for body in mails]
    large = '{"a": "' + "x" * 59_900 + '"}'
    return [
        row("JSON body, strict decoder", parse_body, mails),
        row("typed request from the body", lambda body: to_request(44, Channel.EMAIL, body), decoded),
        *(
            row(f"rules in the protos, {channel}", check_rules, _requests(channel))
            for channel in Channel  # external_id, device_token, lengths and patterns
        ),
        row("full validation, email", lambda body: validate_body(_caller(), 44, body), decoded),
        row("email, plain", email_problem, (f"user.name+{n}@mail.example.com" for n in numbers)),
        row("email, judged by the library", email_problem, (f"o'hara{n}@example.com" for n in numbers)),
        row("email, internationalised domain", email_problem, (f"a{n}@münchen.de" for n in numbers)),
        row(
            "REST, email, internationalised domain seen before",
            _single(Channel.EMAIL),
            (_abroad(body) for body in mails),
        ),
        row("phone", phone_problem, (f"+1202555{n:04}" for n in numbers)),
        row("time zone", timezone_problem, ["America/Chicago"] * _CALLS),
        row("locale, seen before", normal_locale, ["pt-BR"] * _CALLS),
        row("locale, never seen before", normal_locale, (f"zh-Hans-CN-x-{n}" for n in numbers)),
        row("event as text, 80 bytes", strict_json.decode, (f'{{"n": {n}, {_EVENT}}}' for n in numbers)),
        row("event as text, 59,910 bytes", strict_json.decode, [large] * 50),
    ]


def _worst(rounds: int) -> list[Row]:
    called = answered(_single(Channel.EMAIL))
    return [(f"worst body: {name}", _cost(called, [body], rounds)) for name, body in WORST.items()]


def _requests(channel: Channel) -> list[Any]:
    return [to_request(44, channel, parse_body(body)) for body in bodies(channel)]


def _cost(called: Callable[[Any], object], inputs: Sequence[Any], rounds: int) -> float:
    """Return microseconds of CPU for a call: the median of the rounds' means."""
    costs = []
    for _ in range(rounds):
        began = time.process_time()
        for one in inputs:
            called(one)
        costs.append((time.process_time() - began) / len(inputs) * 1e6)
    return statistics.median(costs)


def _facts(rounds: int) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{rounds} rounds of {_CALLS} calls; {len(os.sched_getaffinity(0))} CPUs, load average "
        f"{os.getloadavg()[0]:.2f}; Python {platform.python_version()}, {packages}."
    )


if __name__ == "__main__":
    main()
