"""Renders messages for people in a thread, so that an expensive template does not delay other calls."""

from __future__ import annotations

import json
import uuid
from collections.abc import Hashable
from typing import Any

from clarion.admin.v1 import campaign_pb2 as pb

from ..channels import CHANNELS
from ..channels.base import Message
from ..channels.push import Push
from ..domain.campaign import Campaign
from ..domain.delivery_errors import DeliveryError
from ..domain.json_limits import MAX_DEPTH, exceeds_depth
from ..domain.locale import normal_locale
from ..domain.trigger import Trigger
from ..errors import InvalidRequest, Violation
from ..intake.timezones import timezone_problem
from ..templates.faults import PartError
from ..templates.limits import Cost
from ..templates.render import Renderer, chosen_locale
from .campaign_content import fault_violation, to_campaign
from .template_thread import TemplateThread

__all__ = ["Previews", "shown_parts"]


class Previews:
    """Renders one message at a time, each within the CPU time that a message may take."""

    def __init__(self) -> None:
        # A separate thread: previews, which every viewer may request, cannot delay authors who save.
        self._thread = TemplateThread("preview", max_calls=8, own=2)

    async def sample(
        self, campaign: Campaign, request: pb.PreviewCampaignRequest, timezone: str, owner: Hashable
    ) -> pb.PreviewCampaignResponse:
        """Return the message of a sample trigger.

        Args:
            campaign: The campaign, whose content is not used if the request has other content.
            request: The sample data.
            timezone: The time zone of users without one.
            owner: On whose behalf; see `Actor.owner`.

        Raises:
            InvalidRequest: The content or the data is invalid, or a template cannot be rendered with it.
            Overloaded: Too many messages wait.
        """
        if request.HasField("content"):
            campaign = await self._thread.run(owner, to_campaign, request, campaign, None)
        trigger = _sample(campaign, request)
        try:
            message, cost = await self.render(campaign, trigger, timezone, owner)
        except DeliveryError as error:
            violation = Violation("", str(error), "INVALID_FORMAT")
            if isinstance(error, PartError) and request.HasField("content"):
                violation = fault_violation(error.fault, request.content)
            raise InvalidRequest([violation]) from error
        return pb.PreviewCampaignResponse(
            chosen_locale=chosen_locale(campaign, trigger.locale),
            cpu_milliseconds=cost.seconds * 1000,
            **shown_parts(message),
        )

    async def render(
        self, campaign: Campaign, trigger: Trigger, timezone: str, owner: Hashable
    ) -> tuple[Message, Cost]:
        """Return the message of a trigger, and what rendering it cost.

        Args:
            campaign: The campaign, with its templates.
            trigger: The trigger.
            timezone: The time zone of users without one.
            owner: On whose behalf; see `Actor.owner`.

        Raises:
            DeliveryError: It cannot be rendered.
            Overloaded: Too many messages wait.
        """
        return await self._thread.run(owner, _rendered, campaign, trigger, timezone)


def shown_parts(message: Message) -> dict[str, Any]:
    """Return the fields of a response that shows a message."""
    segments = message.segments
    return {
        **{name: getattr(message, name, "") for name in ("subject", "html", "title", "unsubscribe_url")},
        "text": getattr(message, "text", "") or getattr(message, "body", ""),
        "sms_segments": segments.count if segments else 0,
        "sms_encoding": segments.encoding if segments else "",
        "push_payload": _payload(message) if isinstance(message, Push) else "",
    }


def _payload(push: Push) -> str:
    payload = {"title": push.title, "body": push.body, "data": push.data}
    return json.dumps(payload, ensure_ascii=False, indent=2)


def _rendered(campaign: Campaign, trigger: Trigger, timezone: str) -> tuple[Message, Cost]:
    return Renderer(capacity=1).render_with_cost(campaign, trigger, timezone_fallback=timezone)


def _sample(campaign: Campaign, request: pb.PreviewCampaignRequest) -> Trigger:
    """Return a trigger with the data of a request and sample data for the rest.

    Raises:
        InvalidRequest: The data is invalid; every violation is included.
    """
    violations = [
        *_object_violations("event", request.event),
        *_object_violations("user_data", request.user_data),
    ]
    if request.timezone and (problem := timezone_problem(request.timezone)):
        violations.append(Violation("timezone", problem, "UNKNOWN_VALUE"))
    locale = ""
    try:
        locale = normal_locale(request.locale) if request.locale else ""
    except ValueError:
        violations.append(Violation("locale", "is not a BCP 47 tag, such as pt-BR", "INVALID_FORMAT"))
    if violations:
        raise InvalidRequest(violations)
    return Trigger(
        uuid.UUID(int=0),
        campaign.project_id,
        campaign.id,
        campaign.channel,
        external_id="EXTERNAL_ID",
        address=CHANNELS[campaign.channel].address.sample,
        timezone=request.timezone,
        locale=locale,
        user_data=request.user_data,
        event=request.event,
    )


def _object_violations(field: str, text: str) -> list[Violation]:
    if not text:
        return []
    if exceeds_depth(text):
        description = f"is nested deeper than {MAX_DEPTH} levels, which is the limit"
        return [Violation(field, description, "OUT_OF_RANGE")]
    try:
        value = json.loads(text)
    except ValueError as error:
        return [Violation(field, f"is not valid JSON: {error}", "MALFORMED_JSON")]
    return [] if isinstance(value, dict) else [Violation(field, "must be a JSON object", "WRONG_TYPE")]
