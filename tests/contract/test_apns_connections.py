"""The APNs provider's connections: shared, closed, broken, silent, replaced."""

from __future__ import annotations

import asyncio

import pytest

from server.dispatcher.providers.apns import ApnsProvider
from server.domain.delivery_errors import Verdict
from tests.kit.apns_provider import KEY, ApnsProviders, failure, push
from tests.kit.apns_server import ApnsReply, ApnsServer, apns_server
from tests.kit.until import until
from tests.kit.verdicts import raises


async def test_sends_share_a_connection_and_a_token(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns, concurrency=50)
        apns.script += [ApnsReply(after=0.05)] * 50
        await asyncio.gather(*(provider.send(push()) for _ in range(50)))
    assert (apns.connections, len(apns.tokens)) == (1, 1)
    assert apns.busiest > 30


async def test_streams_stay_within_the_servers_limit(apple: ApnsProviders) -> None:
    async with apns_server(KEY, streams=3) as apns:
        apns.script += [ApnsReply(after=0.01)] * 20
        provider = apple.provider(apns)
        await asyncio.gather(*(provider.send(push()) for _ in range(20)))
    assert (apns.connections, apns.busiest, len(apns.received)) == (1, 3, 20)


async def test_a_goaway_causes_a_new_connection(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(reason="Shutdown", then="goaway")]
        await provider.send(push())
        error = await failure(provider)
        await provider.send(push())
    assert error.verdict is Verdict.LATER  # the next connection is not affected
    assert str(error) == "apple closed the connection: Shutdown"
    assert [one.connection for one in apns.received] == [1, 1, 2]


async def test_a_closed_idle_connection_is_replaced(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        apns.script.append(ApnsReply(then="leave"))
        await provider.send(push())
        await until(lambda: apns.open_now == 0, "the server has closed the connection")
        await provider.send(push())
        await provider.send(push())
    assert [one.connection for one in apns.received] == [1, 2, 2]


async def test_a_goaway_fails_only_the_messages_in_flight(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        await provider.send(push())
        apns.script += [*[ApnsReply(after=60)] * 9, ApnsReply(then="goaway", after=0.05)]
        ends = await asyncio.gather(*(provider.send(push()) for _ in range(10)), return_exceptions=True)
        await asyncio.gather(*(provider.send(push()) for _ in range(10)))
    assert {getattr(end, "verdict", end) for end in ends} == {Verdict.LATER}
    assert (apns.connections, len(apns.accepted)) == (2, 11)


@pytest.mark.parametrize("fault", ["reset", "garbage"])
async def test_a_broken_stream_or_connection_is_in_doubt(apple: ApnsProviders, fault: str) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(200, body=b"{}", then=fault)]
        await provider.send(push())
        error = await failure(provider)
        await provider.send(push())
    assert error.verdict is Verdict.IN_DOUBT
    assert str(error).startswith("apple gave no answer: ")
    assert apns.connections == (1 if fault == "reset" else 2)


async def test_a_restarted_server_is_used_again(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns, concurrency=1)
        apns.script += [ApnsReply(500, "InternalServerError", then="cut")] * 3
        for _ in range(3):
            assert (await failure(provider)).verdict is Verdict.PROVIDER_DOWN
        await provider.send(push())
    assert len(apns.accepted) == 1


async def in_flight(provider: ApnsProvider, apns: ApnsServer) -> asyncio.Task[str]:
    """Start to send a notification; return once the server has it."""
    before = apns.requests
    sending = asyncio.create_task(provider.send(push()))
    await until(lambda: apns.requests > before, "the server has the notification")
    return sending


async def cancel(sending: asyncio.Task[str]) -> None:
    """Cancel a send, as at the end of its time limit; it must be in doubt."""
    sending.cancel()
    with raises(Verdict.IN_DOUBT):
        await sending


async def test_cancelling_a_slow_send_blocks_no_other(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns, timeout=0.2)
        assert provider.timeout == 0.2
        apns.script.append(ApnsReply(then="silence"))
        slow = await in_flight(provider, apns)
        await asyncio.gather(*(provider.send(push()) for _ in range(5)))
        await cancel(slow)
    assert (apns.connections, len(apns.accepted)) == (1, 5)


async def test_a_silent_connection_is_replaced(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(then="silent connection")]
        await provider.send(push())
        stuck = [await in_flight(provider, apns) for _ in range(5)]
        for one in stuck:
            await cancel(one)
        await provider.send(push())
        assert (apns.connections, len(apns.accepted)) == (2, 1)
        await until(lambda: apns.open_now == 1, "the silent connection is closed")


async def test_messages_on_a_replaced_connection_finish(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider, held = apple.provider(apns), asyncio.Event()
        apns.script += [ApnsReply(then="silence"), *[ApnsReply(held=held)] * 3]
        left = await in_flight(provider, apns)
        under_way = [await in_flight(provider, apns) for _ in range(3)]
        await cancel(left)
        await provider.send(push())
        assert (apns.connections, apns.open_now) == (2, 2)
        held.set()
        await asyncio.gather(*under_way)
        await until(lambda: apns.open_now == 1, "the replaced connection is closed")
        assert apns.connections == 2
