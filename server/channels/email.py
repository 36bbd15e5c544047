"""Defines the email channel, and checks its campaigns and templates."""

from __future__ import annotations

from ..domain.campaign import Campaign, Channel, Template
from .base import Address, ChannelSpec
from .email_address import as_sent, email_problem, is_plain_email
from .email_message import Email
from .email_sender import sender_problem

__all__ = ["CHANNEL"]


def _campaign_problems(campaign: Campaign) -> list[str]:
    if not campaign.sender:
        return ["sender is missing: set it to the From address"]
    problem = sender_problem(campaign.sender)
    return [f"sender: {problem}"] if problem else []


def _template_problems(template: Template) -> list[tuple[str, str]]:
    if template.html and template.mjml:
        return [("mjml", "set html or mjml, not both: MJML is converted to HTML")]
    return []


CHANNEL = ChannelSpec(
    name=Channel.EMAIL,
    noun="email",
    address=Address(
        field="email",
        sample="test@test.com",
        is_plain=is_plain_email,
        problem=email_problem,
        as_sent=as_sent,
    ),
    parts=("subject", "text", "html", "mjml"),
    message=Email,
    has_unsubscribe_url=True,
    campaign_problems=_campaign_problems,
    template_problems=_template_problems,
)
