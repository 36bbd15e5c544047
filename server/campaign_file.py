"""Campaign files: YAML or TOML under version control → campaigns, or every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import asdict

from .dispatch.providers.base import Provider
from .dispatch.rendering import check_templates
from .domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, Template
from .errors import ConfigError

__all__ = ["CampaignFile", "read", "to_campaigns"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Template(Template, frozen=True, forbid_unknown_fields=True):
    """As in the domain, but a misspelt member is an error here, where people write."""


class _RetryPolicy(RetryPolicy, frozen=True, forbid_unknown_fields=True):
    """As in the domain, but strict."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    name: Name
    channel: Channel
    provider: Name
    templates: dict[str, _Template]
    sender: str = ""
    state: CampaignState = CampaignState.ACTIVE
    retry: _RetryPolicy = _RetryPolicy()


class CampaignFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The campaigns of one project."""

    project: Name
    campaigns: list[_Entry]


def read(path: Path) -> CampaignFile:
    """Read a campaign file.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong; one line with the place.
    """
    decoders: Mapping[str, Callable[..., CampaignFile]] = {
        ".toml": msgspec.toml.decode,
        ".yaml": msgspec.yaml.decode,
        ".yml": msgspec.yaml.decode,
    }
    decode = decoders.get(path.suffix)
    if decode is None:
        raise ConfigError(f"{path}: a campaign file ends in .yaml, .yml or .toml")
    try:
        return decode(path.read_bytes(), type=CampaignFile)
    except OSError as error:
        raise ConfigError(f"cannot read the campaigns {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def to_campaigns(file: CampaignFile, project_id: int, providers: Mapping[str, Provider]) -> list[Campaign]:
    """Return the file's campaigns, checked against the configured providers.

    Raises:
        ConfigError: every problem, a line each.
    """
    found = [_campaign(entry, project_id) for entry in file.campaigns]
    problems = [
        f"campaign {one.id}: {problem}"
        for entry, one in zip(file.campaigns, found, strict=True)
        for problem in _same_locales(entry) + _problems(one, providers)
    ]
    ids = [one.id for one in found]
    problems += [
        f"campaign {twice}: stands twice in the file" for twice in {i for i in ids if ids.count(i) > 1}
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _campaign(entry: _Entry, project_id: int) -> Campaign:
    return Campaign(
        project_id=project_id,
        id=entry.id,
        name=entry.name,
        channel=entry.channel,
        provider=entry.provider,
        state=entry.state,
        sender=entry.sender,
        templates={_locale(name): Template(**asdict(parts)) for name, parts in entry.templates.items()},
        retry=RetryPolicy(**asdict(entry.retry)),
    )


def _locale(written: str) -> str:
    return written.replace("_", "-").lower()


def _same_locales(entry: _Entry) -> list[str]:
    """One of two templates for the same locale would be lost."""
    spellings: dict[str, list[str]] = {}
    for written in entry.templates:
        spellings.setdefault(_locale(written), []).append(repr(written))
    return [
        f"templates: {' and '.join(same)} are the same locale" for same in spellings.values() if len(same) > 1
    ]


def _problems(campaign: Campaign, providers: Mapping[str, Provider]) -> list[str]:
    provider = providers.get(campaign.provider)
    problems = []
    if provider is None:
        known = ", ".join(sorted(providers))
        problems.append(f"provider {campaign.provider!r} is not configured; there are: {known}")
    elif campaign.channel not in provider.channels:
        problems.append(f"provider {campaign.provider!r} does not send {campaign.channel}")
    if campaign.channel is Channel.EMAIL and not campaign.sender:
        problems.append("sender is missing: an email needs a From address")
    if not campaign.templates:
        problems.append("templates is empty: give at least the locale 'default'")
    return problems + check_templates(campaign)
