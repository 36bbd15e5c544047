"""`python -m lab.bench.validation`: microseconds that checking one trigger takes. See docs/benchmarks.md.

No server runs: the functions are called that the server calls. Every call gets a request of its own, so that
nothing is remembered from the one before, except where a row says so.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

import click

from server.channels import CHANNELS
from server.channels.email_address import as_sent, email_problem
from server.channels.text import phone_problem
from server.domain.campaign import Channel
from server.domain.locale import normal_locale
from server.intake import strict_json
from server.intake.body import parse_body, to_request
from server.intake.rules import check, check_rules
from server.intake.timezones import timezone_problem

__all__ = ["main"]

TARGET = 60.0
"""Microseconds for all checks of one REST trigger."""
_CALLS = 2000  # more than the locale's cache holds, so that a second round finds nothing in it
_EVENT = '"event": {"order_id": 1234567890123, "random_field": "value"}'
_PACKAGES = ("protovalidate", "msgspec", "email-validator", "phonenumbers", "langcodes")

Row = tuple[str, float]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", type=click.IntRange(1, 1000), default=15)
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def main(rounds: int, markdown: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Measure what checking a trigger costs; exit 1 above the target."""
    wholes = [row for channel in Channel for row in _whole(channel, rounds)]
    found = [*_parts(rounds), *wholes]
    for name, cost in [("check", None), *found]:
        shown = "µs" if cost is None else f"{cost:.2f}"
        click.echo(f"| {name} | {shown} |" if markdown else f"{name:<52}{shown:>8}")
        if markdown and cost is None:
            click.echo("| --- | ---: |")
    worst = max(cost for _, cost in wholes)
    met = "met" if worst < TARGET else "MISSED"
    click.echo(f"\nAt most {worst:.1f} µs for each trigger; target {TARGET:g}: {met}.\n\n{_facts(rounds)}")
    sys.exit(0 if worst < TARGET else 1)


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


def accept(body: bytes, channel: Channel) -> None:
    """Do all that the server does with a REST body before it has a trigger to store."""
    decoded = parse_body(body)
    request = to_request(44, channel, decoded)
    violations = check(request, event_parsed=decoded.is_plain)
    if decoded.violations or violations:
        raise click.ClickException(f"the example is refused: {decoded.violations or violations}")
    as_sent(getattr(request.user, CHANNELS[channel].address.field))
    normal_locale(request.user.locale)


def _accept_email(body: bytes) -> None:
    accept(body, Channel.EMAIL)


def _abroad(body: bytes) -> bytes:
    return body.replace(b"mail.example.com", "münchen.de".encode())


def _whole(channel: Channel, rounds: int) -> list[Row]:
    kinds = {"": "en", ", locale never seen before": "en-x-{}"}
    return [
        (
            f"**REST, {channel}{kind}**",
            _cost(lambda body: accept(body, channel), bodies(channel, locale=locale), rounds),
        )
        for kind, locale in kinds.items()
    ]


def _parts(rounds: int) -> list[Row]:
    def row(name: str, called: Callable[[Any], object], inputs: Iterable[Any]) -> Row:
        return name, _cost(called, list(inputs), rounds)

    numbers = range(_CALLS)
    mails = bodies(Channel.EMAIL)
    decoded = [parse_body(body) for body in mails]
    large = '{"a": "' + "x" * 59_900 + '"}'
    return [
        row("JSON body", parse_body, mails),
        row("JSON body, nested", parse_body, (body.replace(b'"value"', b'["value"]') for body in mails)),
        row("typed request from the body", lambda body: to_request(44, Channel.EMAIL, body), decoded),
        *(
            row(f"rules in the protos, {channel}", check_rules, _requests(channel))
            for channel in Channel  # external_id, device_token, lengths and patterns
        ),
        row("email, plain", email_problem, (f"user.name+{n}@mail.example.com" for n in numbers)),
        row("email, judged by the library", email_problem, (f"o'hara{n}@example.com" for n in numbers)),
        row("email, internationalised domain", email_problem, (f"a{n}@münchen.de" for n in numbers)),
        row(
            "REST, email, internationalised domain seen before",
            _accept_email,
            (_abroad(body) for body in mails),
        ),
        row("phone", phone_problem, (f"+1202555{n:04}" for n in numbers)),
        row("time zone", timezone_problem, ["America/Chicago"] * _CALLS),
        row("locale, seen before", normal_locale, ["pt-BR"] * _CALLS),
        row("locale, never seen before", normal_locale, (f"zh-Hans-CN-x-{n}" for n in numbers)),
        row("event as text, 80 bytes", strict_json.decode, (f'{{"n": {n}, {_EVENT}}}' for n in numbers)),
        row("event as text, 59,910 bytes", strict_json.decode, [large] * 50),
    ]


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
