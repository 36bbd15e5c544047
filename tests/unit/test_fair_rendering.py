"""Messages that take long to render must not hold up those of other projects."""

from __future__ import annotations

import asyncio

import pytest

from server.channels.base import Message
from server.dispatcher.rendering import MAX_WAITING, FairRenderer
from server.domain.campaign import Campaign, Template
from server.domain.delivery_errors import RenderError
from server.domain.trigger import Trigger
from tests.kit.dispatch import make_campaign, make_trigger

LOOP = "{% for one in event.items %}{{ one | currency: 'EUR' }} {% endfor %}done"
SLOW = make_campaign(templates={"default": Template(text=LOOP)})
MANY = make_trigger(event=f'{{"items": [{", ".join("0" for _ in range(990))}]}}')
FEW = make_trigger(event='{"items": [0]}')


def other(project_id: int) -> Campaign:
    return make_campaign(project_id=project_id, templates={"default": Template(text=LOOP)})


async def finished(
    renderer: FairRenderer, campaign: Campaign, trigger: Trigger, order: list[int]
) -> Message | None:
    """Render a message, within the limit or not, and note its project when that is done."""
    try:
        return await renderer.render(campaign, trigger, timezone_fallback="UTC")
    except RenderError:
        return None
    finally:
        order.append(campaign.project_id)


async def test_quick_messages_do_not_wait() -> None:
    renderer, order = FairRenderer(), list[int]()
    slow = [asyncio.create_task(finished(renderer, SLOW, MANY, order)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await finished(renderer, other(2), FEW, order)
    await asyncio.gather(*slow)
    assert order == [2, 1, 1, 1, 1, 1]


async def test_projects_take_turns_in_the_thread() -> None:
    renderer, order = FairRenderer(), list[int]()
    campaigns = [SLOW] * 5 + [other(2), other(3)]
    await asyncio.gather(*(finished(renderer, campaign, MANY, order) for campaign in campaigns))
    assert order == [1, 2, 3, 1, 1, 1, 1]


async def test_too_many_slow_messages_are_put_off() -> None:
    renderer, order = FairRenderer(), list[int]()
    waiting = [asyncio.create_task(finished(renderer, SLOW, MANY, order)) for _ in range(MAX_WAITING)]
    assert not renderer.is_behind(SLOW)
    await asyncio.sleep(0)
    assert renderer.is_behind(SLOW)
    assert not renderer.is_behind(other(2))
    await asyncio.gather(*waiting)
    assert not renderer.is_behind(SLOW)


async def test_a_campaign_leaves_the_thread_when_it_is_quick() -> None:
    renderer, order = FairRenderer(), list[int]()
    await finished(renderer, SLOW, MANY, order)
    waiting = asyncio.create_task(finished(renderer, SLOW, FEW, order))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await waiting
    with pytest.raises(StopIteration):
        finished(renderer, SLOW, FEW, order).send(None)  # without waiting for anything


async def test_a_message_over_the_limit_names_it() -> None:
    price = "{{ b | currency: 'EUR' }}"
    nested = f"{{% for a in (1..90) %}}{{% for b in (1..100) %}}{price * 5}{{% endfor %}}{{% endfor %}}"
    campaign = make_campaign(templates={"default": Template(text=nested)})
    with pytest.raises(
        RenderError, match="more than 250 ms of CPU; loop over fewer items, or use fewer filters"
    ):
        await FairRenderer().render(campaign, FEW, timezone_fallback="UTC")
