"""Sends tests of campaigns.

A test send is an ordinary trigger, because it leaves through a real provider: triggers of test keys are never
sent, which their lane guarantees. It carries its content, so the dispatcher sends exactly what the author
chose, even if the draft changes meanwhile.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from clarion.admin.v1 import campaign_draft_pb2 as pb

from ..channels import CHANNELS
from ..domain.campaign import Campaign, Template
from ..domain.locale import normal_locale
from ..domain.placement import place
from ..domain.project import Project
from ..domain.trigger import Trigger, new_id
from ..errors import InvalidRequest, RateLimited, Violation
from ..intake.rules import check
from ..intake.typed import TYPED
from ..store.admin.drafts import find_draft
from ..store.pool import Connection
from ..store.records.test_sends import accept_test, recent_tests
from ..templates.render import chosen_locale
from .campaign_changes import find
from .change import Change
from .errors import DraftNotFound
from .recipients import masked

__all__ = ["send_test"]

_ACTION = "campaign.send_test"
_WINDOW = 60.0
_MOST = 10
"""Tests of a project in a window, so that a mistake in a script costs little."""
_USER = "test-send"
"""The external ID of the user of a test."""


async def send_test(change: Change, request: pb.SendCampaignTestRequest) -> Trigger:
    """Accept a trigger with sample data that is rendered with a campaign's draft or current version.

    Raises:
        InvalidRequest: The address or the sample data is invalid; every violation is included.
        RateLimited: The project has sent too many tests.
        CampaignNotFound, DraftNotFound, ProjectNotFound, RoleMissing: It cannot be sent by this caller.
    """
    project, campaign = await find(change.connection, change.call, request)
    content = await _content(change.connection, campaign, draft=request.draft)
    trigger = _trigger(request, content)
    await _require_rate(change.connection, project)
    content = replace(content, window=None, templates=_template_for(content, trigger.locale))
    now = dt.datetime.now(dt.UTC)
    await accept_test(change.connection, trigger, place(content, "", "UTC", now), content)
    await change.record(
        _ACTION,
        f"campaign/{project.name}/{campaign.id}",
        project_id=project.id,
        after={
            "trigger_id": str(trigger.id),
            "version": "draft" if request.draft else campaign.revision,
            "recipient": masked(trigger.address),
        },
    )
    return trigger


async def _content(connection: Connection, campaign: Campaign, *, draft: bool) -> Campaign:
    """Return the campaign, or its draft. Each state of a draft has a revision that no version has.

    Raises:
        DraftNotFound: It has no draft.
    """
    if not draft:
        return campaign
    found = await find_draft(connection, campaign)
    if found is None:
        raise DraftNotFound.of(campaign.id)
    return replace(found.campaign, revision=-int(found.saved_at.timestamp() * 1_000_000))


def _template_for(content: Campaign, locale: str) -> dict[str, Template]:
    """Return the template that is used for a locale: the others need not be stored with the trigger."""
    name = chosen_locale(content, locale)
    return {name: content.templates[name]}


def _trigger(request: pb.SendCampaignTestRequest, content: Campaign) -> Trigger:
    """Return the trigger of a request, checked by the rules for triggers.

    Raises:
        InvalidRequest: It breaks them.
    """
    address = CHANNELS[content.channel].address
    typed = TYPED[content.channel].request(campaign_id=content.id, event=request.event)
    user = typed.user
    user.external_id, user.timezone, user.locale, user.data = (
        _USER,
        request.timezone,
        request.locale,
        request.user_data,
    )
    setattr(user, address.field, request.address)
    names = {f"user.{address.field}": "address", "user.data": "user_data"}
    violations = [
        Violation(names.get(one.field, one.field.removeprefix("user.")), one.description, one.reason)
        for one in check(typed)
    ]
    if violations:
        raise InvalidRequest(violations)
    return Trigger(
        new_id(),
        content.project_id,
        content.id,
        content.channel,
        external_id=_USER,
        address=address.as_sent(request.address),
        timezone=request.timezone,
        locale=normal_locale(request.locale) if request.locale else "",
        user_data=request.user_data,
        event=request.event,
    )


async def _require_rate(connection: Connection, project: Project) -> None:
    """Check that the project may send another test.

    Raises:
        RateLimited: It has sent too many.
    """
    recent = await recent_tests(connection, project.id, _ACTION, _WINDOW)
    if recent.sent >= _MOST:
        wait = max(recent.wait, 1.0)
        raise RateLimited(
            wait,
            f"Project {project.name} has sent {_MOST} tests in the last minute; try again in {wait:.0f} s.",
        )
