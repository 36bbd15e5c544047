"""What is wrong with a system, from its state."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest

from server.cli import cli
from server.domain.campaign import Channel
from server.domain.figures import Crowd, DatabaseFigures
from server.domain.sending_hold import SendingHold
from server.domain.shorter_retention import ShorterRetention
from server.domain.system_problems import problems_of
from server.domain.system_status import (
    ChannelStatus,
    DeadLetters,
    Disk,
    Process,
    ProviderSummary,
    Replication,
    SystemStatus,
    WebhookSummary,
    provider_summaries,
)
from server.domain.waiting import DispatcherReport, Hold, ProviderStatus
from tests.unit.test_observability import NAMES, RUNBOOKS

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
SMTP = ProviderSummary("smtp", 1, breaker_open=False, error="", suppression_paused=False)
DATABASE = DatabaseFigures(10, 100, 10**9, 0, 1)


def process(role: str, seconds: float = 1, started: float = 3600, **health: float) -> Process:
    seen_at, started_at = (NOW - dt.timedelta(seconds=ago) for ago in (seconds, started))
    return Process(f"{role}-{seconds}", role, "1.0", "host", started_at, seen_at, **health)


def with_process(*added: Process) -> SystemStatus:
    return replace(WELL, processes=[*WELL.processes, *added])


WELL = SystemStatus(
    now=NOW,
    processes=[process("server"), process("dispatcher")],
    schema_version="0031",
    schema_needed="0031",
    missing_indexes=[],
    channels=[ChannelStatus("email", 3, 2, 1, 5.0)],
    providers=[SMTP],
    dead_letters=500,
    dead_letters_last_hour=10,
    dead_letter_errors=[],
    database=DATABASE,
    replication=Replication(0, is_synchronous=False),
    disk=Disk(100, 10),
)


def test_a_system_that_is_well_has_no_problems() -> None:
    assert problems_of(WELL) == []
    assert problems_of(replace(WELL, disk=None)) == []


@pytest.mark.parametrize(
    ("changed", "text", "runbook"),
    [
        (
            replace(WELL, held=SendingHold(NOW, "Ada", "restored")),
            "sending is held since 2026-11-29 12:00:00 UTC by Ada: restored",
            "ClarionSendingHeld",
        ),
        (
            replace(WELL, shorter_retentions=[ShorterRetention("record", 400, 40, NOW)]),
            (
                "[retention] record was shortened from 400 to 40 days, so the records of triggers will be"
                " removed after 40 days, from 2026-11-29 12:00 UTC on"
            ),
            "ClarionRetentionStuck",
        ),
        (replace(WELL, processes=[process("dispatcher")]), "no server is running", "ClarionServerAbsent"),
        (
            replace(WELL, processes=[process("server"), process("dispatcher", 30)]),
            "no dispatcher is running",
            "ClarionDispatcherAbsent",
        ),
        (
            with_process(process("server", 25)),
            "a server on host hangs or was killed: it last reported 25 s ago",
            "ClarionProcessDown",
        ),
        (
            with_process(process("server", 25), process("server", 70), process("server", 2, started=40)),
            "a server on host hangs or was killed: it last reported 25 s ago",
            "ClarionProcessDown",
        ),
        (
            with_process(process("dispatcher", clock_offset=-300.4)),
            "the clock of a dispatcher on host is 300 s behind the database's",
            "ClarionClockSkew",
        ),
        (
            with_process(process("server", write_seconds=1.25)),
            "the database is slow: a write by a server on host takes 1.2 s",
            "ClarionDatabaseSlow",
        ),
        (
            replace(WELL, providers=[replace(SMTP, seconds=12.4)]),
            "the provider smtp is slow: half of the sends take longer than 12 s",
            "ClarionProviderSlow",
        ),
        (
            replace(
                WELL,
                channels=[ChannelStatus("email", 3, 2, 1, 45.0)],
                crowds=[Crowd(Channel.EMAIL, "noisy", 0.98, ("shop", "b", "c", "d"))],
            ),
            (
                "project noisy delays others: it has 98% of the due email messages, and those of shop, b, c"
                " and 1 more wait behind them, for up to 45 s"
            ),
            "ClarionProjectCrowds",
        ),
        (
            replace(WELL, failing_webhooks=[WebhookSummary("1-2", "shop", 30, "connection refused")]),
            "the webhook receiver 1-2 of project shop fails, and 30 messages wait: connection refused",
            "ClarionWebhooksFailing",
        ),
        (
            replace(WELL, channels=[ChannelStatus("text", 1, 0, 0, 301, "no dispatcher has it")]),
            "the oldest due text message has waited for 301 s: no dispatcher has it",
            "ClarionOldestDue",
        ),
        (
            replace(WELL, providers=[replace(SMTP, breaker_open=True, error="535 refused")]),
            "the circuit breaker of smtp is open: 535 refused",
            "ClarionBreakerOpen",
        ),
        (
            replace(WELL, providers=[replace(SMTP, suppression_paused=True)]),
            "smtp refuses too many recipients, so none is suppressed",
            "ClarionSuppressionPaused",
        ),
        (
            replace(WELL, dead_letters_last_hour=11),
            "11 messages became dead letters in the last hour",
            "ClarionDeadLettersGrowing",
        ),
        (
            replace(
                WELL,
                dead_letters_last_hour=11,
                dead_letter_errors=[
                    DeadLetters("an old error", 90, NOW - dt.timedelta(hours=2), 1, "shop"),
                    DeadLetters("a poor template", 11, NOW, 44, "shop"),
                ],
            ),
            (
                "11 messages became dead letters in the last hour, most often with the error: a poor template"
                " (campaign 44 of shop)"
            ),
            "ClarionDeadLettersGrowing",
        ),
        (
            replace(WELL, missing_indexes=["an_index"]),
            "the database lacks an_index",
            "ClarionMigrationPending",
        ),
        (
            replace(WELL, schema_version="0030"),
            "the database lacks migrations up to 0031",
            "ClarionMigrationPending",
        ),
        (
            replace(WELL, database=replace(DATABASE, connections=91)),
            "91 of 100 connections to the database are in use",
            "ClarionConnectionsNearlyUsed",
        ),
        (
            replace(WELL, database=replace(DATABASE, oldest_transaction=901)),
            "a transaction has been open for 901 s",
            "ClarionLongTransaction",
        ),
        (
            replace(WELL, replication=Replication(0, is_synchronous=True)),
            "commits wait for a synchronous replica, but none is connected",
            "ClarionDatabaseUnreachable",
        ),
        (
            replace(WELL, disk=Disk(100, 9)),
            "only 9% of the disk of the data folder is free",
            "ClarionDiskNearlyFull",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value in NAMES else "",
)
def test_each_problem_is_named_with_its_runbook(changed: SystemStatus, text: str, runbook: str) -> None:
    [problem] = problems_of(changed)
    assert (problem.text, problem.runbook) == (text, runbook)
    assert runbook in NAMES
    for command in re.findall(r"`clarion ([^`]+)`", problem.action):
        assert exists(command), command


def exists(words: str) -> bool:
    """Return whether the command line exists, without looking at its arguments and options."""
    command: click.Command = cli
    for word in words.split():
        if not isinstance(command, click.Group):
            return True
        found = command.get_command(click.Context(command), word)
        if found is None:
            return False
        command = found
    return not isinstance(command, click.Group)


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_the_runbooks_exist(page: Path) -> None:
    for command in re.findall(r"`clarion\s+([^`]+)`", page.read_text()):
        assert exists(command), command


def test_a_replaced_process_and_a_short_crowd_are_no_problems() -> None:
    assert problems_of(with_process(process("server", 25), process("server", 2, started=20))) == []
    assert problems_of(replace(WELL, crowds=[Crowd(Channel.EMAIL, "noisy", 1.0, ("shop",))])) == []


def test_providers_are_summed_up_over_dispatchers() -> None:
    broken = ProviderStatus(hold=Hold.BREAKER, error="down")
    reports = [
        DispatcherReport(NOW, {"smtp": broken, "_test": ProviderStatus()}),
        DispatcherReport(NOW, {"smtp": ProviderStatus(hold=Hold.RATE)}),
        DispatcherReport(NOW, None),
    ]
    assert provider_summaries(reports) == [replace(SMTP, dispatchers=2, breaker_open=True, error="down")]
