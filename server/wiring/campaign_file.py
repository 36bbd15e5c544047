"""Reads campaign files (YAML or TOML) and reports all their problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec.structs import asdict

from ..channels import CHANNELS
from ..dispatcher.providers.base import Provider
from ..domain.campaign import Campaign, CampaignState, Channel, RetryPolicy, SendWindow, Template, Undefined
from ..domain.wording import at_position, printable
from ..errors import ConfigError
from ..templates.render import check_templates

__all__ = ["CampaignFile", "find_campaign", "read", "to_campaigns"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Template(Template, frozen=True, forbid_unknown_fields=True):
    """Adds that unknown members are errors, because people write these files."""


class _RetryPolicy(RetryPolicy, frozen=True, forbid_unknown_fields=True):
    """Adds that unknown members are errors."""


class _SendWindow(SendWindow, frozen=True, forbid_unknown_fields=True):
    """Adds that unknown members are errors."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    name: Name
    channel: Channel
    templates: dict[str, _Template]
    provider: Name | None = None
    providers: tuple[Name, ...] = ()
    sender: str = ""
    state: CampaignState = CampaignState.ACTIVE
    retry: _RetryPolicy | None = None
    send_window: _SendWindow | None = None
    unsubscribe_url: str = ""
    undefined: Undefined = Undefined.EMPTY


class CampaignFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The campaigns of one project."""

    project: Name
    campaigns: list[_Entry]


def read(path: Path) -> CampaignFile:
    """Read a campaign file.

    Raises:
        ConfigError: the file cannot be read or is invalid; one line that says where.
    """
    decoders: Mapping[str, Callable[..., CampaignFile]] = {
        ".toml": msgspec.toml.decode,
        ".yaml": _decode_yaml,
        ".yml": _decode_yaml,
    }
    decode = decoders.get(path.suffix)
    if decode is None:
        raise ConfigError(f"{path}: the name of a campaign file must end in .yaml, .yml or .toml")
    try:
        file = decode(path.read_bytes(), type=CampaignFile)
    except OSError as error:
        raise ConfigError(f"cannot read the campaign file {path}: {error.strerror}") from error
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    problems = list(_impossible_texts(msgspec.to_builtins(file), ""))
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return file


def _impossible_texts(value: object, place: str) -> Iterator[str]:
    """Yield a problem for each text that contains NUL, which neither the database nor a message can hold."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _impossible_texts(name, place)
            yield from _impossible_texts(member, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _impossible_texts(member, f"{place}[{index}]")
    elif isinstance(value, str) and "\0" in value:
        yield f"{printable(place)}: {at_position(value, value.index(chr(0)))} is not allowed in text"


class _UniqueNames(yaml.SafeLoader):
    """Rejects duplicate names in a mapping, of which YAML libraries silently use the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, or raise a YAMLError that names a duplicate and its place."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'"{name.value}" is given twice', problem_mark=name.start_mark
                )
            seen.add(name.value)
        return node


def _decode_yaml(text: bytes, **options: Any) -> CampaignFile:
    found: CampaignFile = msgspec.yaml.decode(text, **options)
    yaml.compose(text, _UniqueNames)
    return found


def to_campaigns(
    file: CampaignFile, project_id: int, providers: Mapping[str, Provider] | None
) -> list[Campaign]:
    """Return the file's campaigns, checked against the configured providers, unless they are not known.

    Raises:
        ConfigError: the campaigns are invalid; one line for each problem.
    """
    found = [_campaign(entry, project_id) for entry in file.campaigns]
    problems = [
        f"campaign {one.id}: {problem}"
        for entry, one in zip(file.campaigns, found, strict=True)
        for problem in _same_locales(entry) + _both_given(entry) + _problems(one, providers)
    ]
    ids = [one.id for one in found]
    problems += [
        f"campaign {twice}: is defined twice in the file" for twice in {i for i in ids if ids.count(i) > 1}
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def find_campaign(file: CampaignFile, campaign_id: int) -> Campaign | None:
    """Return one campaign of the file, unchecked and without a project."""
    return next((_campaign(entry, 0) for entry in file.campaigns if entry.id == campaign_id), None)


def _campaign(entry: _Entry, project_id: int) -> Campaign:
    return Campaign(
        project_id=project_id,
        id=entry.id,
        name=entry.name,
        channel=entry.channel,
        providers=entry.providers or ((entry.provider,) if entry.provider else ()),
        state=entry.state,
        sender=entry.sender,
        templates={_locale(name): Template(**asdict(parts)) for name, parts in entry.templates.items()},
        retry=RetryPolicy(**asdict(entry.retry)) if entry.retry else None,
        window=SendWindow(**asdict(entry.send_window)) if entry.send_window else None,
        unsubscribe_url=entry.unsubscribe_url,
        undefined=entry.undefined,
    )


def _locale(written: str) -> str:
    return written.replace("_", "-").lower()


def _same_locales(entry: _Entry) -> list[str]:
    """Return a problem for each locale that is spelled in several ways, because only one would be kept."""
    spellings: dict[str, list[str]] = {}
    for written in entry.templates:
        spellings.setdefault(_locale(written), []).append(repr(written))
    return [
        f"templates: {' and '.join(same)} are the same locale" for same in spellings.values() if len(same) > 1
    ]


def _both_given(entry: _Entry) -> list[str]:
    return ["set either provider or providers, not both"] if entry.provider and entry.providers else []


def _problems(campaign: Campaign, providers: Mapping[str, Provider] | None) -> list[str]:
    problems = _provider_problems(campaign, providers)
    problems += CHANNELS[campaign.channel].campaign_problems(campaign)
    if not campaign.templates:
        problems.append("templates is empty; add at least the locale 'default'")
    if campaign.window and campaign.window.opens == campaign.window.closes:
        problems.append("send_window: opens and closes are equal; omit send_window to send at any time")
    return problems + [str(fault) for fault in check_templates(campaign)]


def _provider_problems(campaign: Campaign, providers: Mapping[str, Provider] | None) -> list[str]:
    problems = []
    if not campaign.providers:
        problems.append("provider is missing; set it to a configured provider, or set providers to several")
    if len(set(campaign.providers)) < len(campaign.providers):
        problems.append("providers names a provider twice")
    if providers is None:
        return problems
    for name in campaign.providers:
        provider = providers.get(name)
        if provider is None:
            known = ", ".join(sorted(providers))
            problems.append(f"provider {name!r} is not configured; configured are: {known}")
        elif campaign.channel not in provider.channels:
            problems.append(f"provider {name!r} does not send {campaign.channel}")
    return problems
