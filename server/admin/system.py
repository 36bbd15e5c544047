"""SystemService: the state of Clarion itself, and the hold of all sending."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from clarion.admin.v1 import system_pb2 as pb
from clarion.admin.v1 import system_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.campaign import is_test_lane
from ..domain.figures import QueueState
from ..domain.sending_hold import SendingHold
from ..domain.system_problems import problems_of
from ..domain.system_status import Disk, Process, SystemStatus
from ..intake.rules import require_valid
from ..store.figures import queued
from ..store.pool import Pool, reached
from ..store.queue import sending_hold
from ..store.queue.triggers import PostgresQueue
from ..store.records.system_status import system_status
from ..store.schema.migrate import missing_indexes, schema_of
from ..store.schema.version import HEAD
from .call import AdminCall
from .change import changing
from .paging import etag_of, require_etag

__all__ = ["SystemServicer", "hold_message"]

_RESOURCE = "sending"


class SystemServicer(system_pb2_grpc.SystemServiceServicer):
    """Returns the state of Clarion, and holds and releases sending.

    Args:
        pool: The database.
        data_folder: The data folder, whose disk is reported if it exists.
    """

    def __init__(self, pool: Pool, data_folder: Path) -> None:
        self._pool = pool
        self._data_folder = data_folder

    async def GetSystemStatus(  # noqa: N802 - gRPC's name
        self, request: pb.GetSystemStatusRequest, call: AdminCall
    ) -> pb.GetSystemStatusResponse:
        """Return the state."""
        require_valid(request)
        call.require()
        schema = await schema_of(self._pool)
        missing = await missing_indexes(self._pool)
        async with reached():
            found = await system_status(
                self._pool,
                schema=(schema.number, HEAD),
                missing_indexes=missing,
                disk=_disk(self._data_folder),
            )
        return pb.GetSystemStatusResponse(system=_message(found))

    async def HoldSending(  # noqa: N802 - gRPC's name
        self, request: pb.HoldSendingRequest, call: AdminCall
    ) -> pb.HoldSendingResponse:
        """Hold all sending, unless it is already held."""
        require_valid(request)
        call.require()
        async with changing(self._pool, call) as change:
            begun = await sending_hold.hold(change.connection, call.actor.name, request.hold_reason)
            held = await sending_hold.find_hold(change.connection)
            if begun:
                await change.record(
                    "sending.hold", _RESOURCE, project_id=None, after={"reason": request.hold_reason}
                )
        async with reached():
            return pb.HoldSendingResponse(sending_hold=hold_message(held), sending=await _sending(self._pool))

    async def ReleaseSending(  # noqa: N802 - gRPC's name
        self, request: pb.ReleaseSendingRequest, call: AdminCall
    ) -> pb.ReleaseSendingResponse:
        """Release all sending, if it is held."""
        require_valid(request)
        call.require()
        async with changing(self._pool, call) as change:
            held = await sending_hold.release(change.connection)
            if held:
                require_etag(request.etag, _etag(held), "The hold")
                before = {"held_by": held.held_by, "held_at": held.held_at, "reason": held.reason}
                await change.record("sending.release", _RESOURCE, project_id=None, before=before)
        return pb.ReleaseSendingResponse(released_hold=hold_message(held))


def hold_message(held: SendingHold | None) -> pb.SendingHold | None:
    """Return the message for a hold."""
    if held is None:
        return None
    return pb.SendingHold(
        hold_time=timestamp(held.held_at),
        held_by=held.held_by,
        hold_reason=held.reason,
        etag=_etag(held),
    )


def _etag(held: SendingHold) -> str:
    return etag_of({"held_at": held.held_at})


async def _sending(pool: Pool) -> int:
    """Return how many triggers are being sent, without tests."""
    lanes = [lane for lane in await PostgresQueue(pool).lanes() if not is_test_lane(lane)]
    counts = await queued(pool, lanes)
    return sum(count for (_, state), count in counts.items() if state is QueueState.SENDING)


def _disk(folder: Path) -> Disk | None:
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(folder)
        return Disk(usage.total, usage.free)
    return None


def _message(status: SystemStatus) -> pb.SystemStatus:
    return pb.SystemStatus(
        status_time=timestamp(status.now),
        problems=[
            pb.SystemProblem(description=one.text, action=one.action, runbook=one.runbook)
            for one in problems_of(status)
        ],
        processes=[_process(one) for one in status.processes],
        schema=status.schema_version,
        needed_schema=status.schema_needed,
        missing_indexes=status.missing_indexes,
        queues=_queues(status),
        system_providers=_providers(status),
        dead_letter_count=status.dead_letters,
        recent_dead_letter_count=status.dead_letters_last_hour,
        dead_letter_errors=[
            pb.SystemDeadLetters(
                error=one.error,
                dead_letters=one.count,
                last_time=timestamp(one.last_at),
                campaign_id=one.campaign_id,
                project=one.project,
            )
            for one in status.dead_letter_errors
        ],
        database=_database(status),
        sending_hold=hold_message(status.held),
        disk=pb.SystemDisk(total_bytes=status.disk.size, free_bytes=status.disk.free)
        if status.disk
        else None,
        failing_webhooks=[
            pb.SystemWebhook(
                webhook_id=one.id, project=one.project, waiting=one.waiting, last_error=one.error
            )
            for one in status.failing_webhooks
        ],
    )


def _process(one: Process) -> pb.SystemProcess:
    return pb.SystemProcess(
        process_id=one.id,
        process_role=one.role,
        version=one.version,
        host=one.host,
        last_seen_time=timestamp(one.seen_at),
        start_time=timestamp(one.started_at),
        clock_offset_seconds=one.clock_offset,
        write_seconds=one.write_seconds,
    )


def _queues(status: SystemStatus) -> list[pb.SystemQueue]:
    return [
        pb.SystemQueue(
            queue_channel=one.channel,
            due=one.due,
            later=one.later,
            sending=one.sending,
            oldest_due_seconds=one.oldest_due,
            waits_for=one.why,
        )
        for one in status.channels
    ]


def _providers(status: SystemStatus) -> list[pb.SystemProvider]:
    return [
        pb.SystemProvider(
            provider=one.name,
            dispatcher_count=one.dispatchers,
            breaker_open=one.breaker_open,
            last_error=one.error,
            suppression_paused=one.suppression_paused,
            median_seconds=one.seconds,
        )
        for one in status.providers
    ]


def _database(status: SystemStatus) -> pb.SystemDatabase:
    found = status.database
    return pb.SystemDatabase(
        size_bytes=found.size,
        connections=found.connections,
        max_connections=found.max_connections,
        oldest_transaction_seconds=found.oldest_transaction,
        replicas=status.replication.replicas,
        synchronous=status.replication.is_synchronous,
    )
