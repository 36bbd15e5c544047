"""The provider types. To add one, add a module to this package and a line to `REGISTRY`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import ConfigError
from .apns import ApnsProvider, ApnsSettings
from .base import Provider
from .fcm import FcmProvider, FcmSettings
from .sandbox import SandboxProvider, SandboxSettings
from .sendgrid import SendGridProvider, SendGridSettings
from .smtp.provider import SmtpProvider, SmtpSettings
from .twilio import TwilioProvider, TwilioSettings

__all__ = ["REGISTRY", "Provider", "build"]

Factory = Callable[[str, Any, Path], Provider]

REGISTRY: dict[str, tuple[type[msgspec.Struct], Factory]] = {
    "sandbox": (SandboxSettings, SandboxProvider),
    "smtp": (SmtpSettings, SmtpProvider),
    "sendgrid": (SendGridSettings, SendGridProvider),
    "twilio": (TwilioSettings, TwilioProvider),
    "fcm": (FcmSettings, FcmProvider),
    "apns": (ApnsSettings, ApnsProvider),
}

_PLACE = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_NAMED = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<field>.*?)`")
_PROBLEMS = {"missing required": "is required", "contains unknown": "is not a setting of this provider"}


def build(name: str, raw_table: Mapping[str, object], *, data_dir: Path) -> Provider:
    """Create the provider that a table `[providers.NAME]` describes.

    Args:
        name: The provider's name in the configuration and in campaigns.
        raw_table: The table from the configuration: `type` and the settings of that type.
        data_dir: The folder for a provider's files.

    Raises:
        ConfigError: A setting is invalid. The text names it as `providers.NAME.FIELD`.
    """
    table = dict(raw_table)
    kind = table.pop("type", None)
    if not isinstance(kind, str) or kind not in REGISTRY:
        raise ConfigError(f"providers.{name}.type: must be one of {', '.join(REGISTRY)}")
    settings_type, factory = REGISTRY[kind]
    try:
        # Values from environment variables are text, so numbers and booleans may be written as text.
        settings = msgspec.convert(table, settings_type, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(name, str(error))) from None
    return factory(name, settings, data_dir)


def _explain(name: str, fault: str) -> str:
    """Convert an error of msgspec, which never contains values, to `providers.NAME.FIELD: problem`."""
    place = _PLACE.search(fault)
    path = f"providers.{name}" + (f".{place['path']}" if place and place["path"] else "")
    fault = _PLACE.sub("", fault)
    if named := _NAMED.match(fault):
        return f"{path}.{named['field']}: {_PROBLEMS[named['what']]}"
    return f"{path}: {fault[:1].lower()}{fault[1:]}"
