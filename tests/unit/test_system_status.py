"""What is wrong with a system, from its state."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from server.domain.figures import DatabaseFigures
from server.domain.system_status import (
    ChannelStatus,
    Disk,
    Process,
    ProviderSummary,
    Replication,
    SystemStatus,
    problems_of,
    provider_summaries,
)
from server.domain.waiting import DispatcherReport, Hold, ProviderStatus
from tests.unit.test_observability import NAMES

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
SMTP = ProviderSummary("smtp", 1, breaker_open=False, error="", suppression_paused=False)
DATABASE = DatabaseFigures(10, 100, 10**9, 0, 1)


def process(role: str, seconds: float = 1) -> Process:
    return Process(role, role, "1.0", "host", NOW - dt.timedelta(seconds=seconds))


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
        (replace(WELL, processes=[process("dispatcher")]), "no server is running", "ClarionServerAbsent"),
        (
            replace(WELL, processes=[process("server"), process("dispatcher", 30)]),
            "no dispatcher is running",
            "ClarionDispatcherAbsent",
        ),
        (
            replace(WELL, processes=[*WELL.processes, process("server", 25)]),
            "1 of 2 servers were last seen 25 s ago",
            "ClarionProcessDown",
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
    assert problem.action
    assert runbook in NAMES


def test_providers_are_summed_up_over_dispatchers() -> None:
    broken = ProviderStatus(hold=Hold.BREAKER, error="down")
    reports = [
        DispatcherReport(NOW, {"smtp": broken, "_test": ProviderStatus()}),
        DispatcherReport(NOW, {"smtp": ProviderStatus(hold=Hold.RATE)}),
        DispatcherReport(NOW, None),
    ]
    assert provider_summaries(reports) == [replace(SMTP, dispatchers=2, breaker_open=True, error="down")]
