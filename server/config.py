"""Loads the configuration from one TOML file and environment variables, validates it and freezes it.

Each setting `[section] name` can be given as the environment variable `CLARION_SECTION_NAME`, which overrides
the file. Settings of providers are `CLARION_PROVIDERS_<NAME>_<SETTING>`, so that a file need not contain
passwords; `CLARION_PROVIDERS_<NAME>_TYPE` declares a provider that the file does not have. An error names the
setting, what is wrong with its value, and where the value came from.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from gateway import GatewaySettings
from portal import PortalSettings

from .admin.oidc.settings import OidcSettings
from .api.settings import ServerSettings
from .dispatcher.settings import DispatchSettings
from .errors import ConfigError

__all__ = [
    "DatabaseSettings",
    "DispatchSettings",
    "GatewaySettings",
    "LimitSettings",
    "LogSettings",
    "OidcSettings",
    "PortalSettings",
    "RetentionSettings",
    "ServerSettings",
    "Settings",
    "WebhookSettings",
    "load",
]

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Burst = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return the fields for a repr; a section with secrets overrides this to leave them out."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        """Show what `__rich_repr__` returns, because reprs end up in logs."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class DatabaseSettings(_Section, frozen=True):
    """PostgreSQL. With an empty `url`, `clarion up` runs an embedded one."""

    url: str = ""
    pool_size: Annotated[int, msgspec.Meta(ge=2, le=100)] = 6
    connect_timeout: Seconds = 5.0

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Leave out the URL: it may contain a password."""
        return [("url", "<set>" if self.url else "<embedded>")]


class LimitSettings(_Section, frozen=True):
    """Default rate limits of keys and projects, in calls per second; a rate of 0 means no limit."""

    per_key: Rate = 0.0
    per_key_burst: Burst = 100
    per_project: Rate = 0.0
    per_project_burst: Burst = 100


class WebhookSettings(_Section, frozen=True):
    """Webhooks. `allow` lists networks that are allowed in addition to the Internet; times in seconds."""

    allow: tuple[str, ...] = ()
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    keep: Annotated[float, msgspec.Meta(ge=345_600, le=31_536_000)] = 2_592_000.0
    ca_file: str = ""


class RetentionSettings(_Section, frozen=True):
    """How many days data is kept; `content` is a trigger's recipient, event and user data."""

    content: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 30
    record: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 400
    audit: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 400


class LogSettings(_Section, frozen=True):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


def _default_providers() -> dict[str, dict[str, Any]]:
    return {"sandbox": {"type": "sandbox"}}


class Settings(_Section, frozen=True):
    """All settings of one process. `data_dir` contains the embedded database and the sandbox's outbox."""

    data_dir: Path = Path(".clarion")
    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    gateway: GatewaySettings = GatewaySettings()
    portal: PortalSettings = PortalSettings()
    oidc: OidcSettings = OidcSettings()
    dispatch: DispatchSettings = DispatchSettings()
    webhooks: WebhookSettings = WebhookSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    providers: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=_default_providers)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Show only the names of the providers: their settings include passwords."""
        shown = dict(super().__rich_repr__(), providers=sorted(self.providers))
        return list(shown.items())


_SECTIONS = {
    field.name: field.type
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
}
_LISTS = {"gateway.upstreams", "oidc.scopes", "portal.servers", "server.refused_domains", "webhooks.allow"}
"""Settings that are lists, given as comma-separated values in environment variables."""
_PROVIDER_TYPE = re.compile(r"CLARION_PROVIDERS_(.+)_TYPE")
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
# Variables that `clarion` reads itself.
_NOT_SETTINGS = {"CLARION_CONFIG", "CLARION_ADMIN_KEY", "CLARION_API_KEY", "CLARION_TARGET"}


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings: the defaults, overridden by a TOML file, overridden by `CLARION_*` variables.

    Args:
        path: the TOML file, or None for no file.
        environ: the environment variables.

    Raises:
        ConfigError: the file cannot be read or a setting is wrong; one line.
    """
    raw = _read(path) if path else {}
    origin = dict.fromkeys(_leaves(raw), str(path))
    raw.setdefault("providers", _default_providers())
    variables = {name: value for name, value in sorted(environ.items()) if _is_setting(name)}
    for name in variables:
        _declare_provider(raw, name, origin)
    for name, value in variables.items():
        origin[_apply_variable(raw, name, value, origin)] = f"environment variable {name}"
    settings = _convert(raw, origin)
    _check_providers(settings, origin)
    return settings


def _is_setting(variable: str) -> bool:
    return variable.startswith("CLARION_") and variable not in _NOT_SETTINGS


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors add a byte order mark
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from error


def _leaves(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in table.items():
        inner = _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        names += inner or [f"{prefix}{key}"]
    return names


def _declare_provider(raw: dict[str, Any], variable: str, origin: Mapping[str, str]) -> None:
    """Create a table for the provider whose type a variable sets, unless the file has one."""
    declared = _PROVIDER_TYPE.fullmatch(variable)
    if declared:
        known = _table(raw, ("providers",), variable, origin)
        name = declared[1].lower().replace("_", "-")
        if name not in known:
            known[name] = {}


def _apply_variable(raw: dict[str, Any], variable: str, value: str, origin: Mapping[str, str]) -> str:
    """Store a variable's value in `raw`; return the setting's dotted name."""
    section, key = _locate(variable, _table(raw, ("providers",), variable, origin))
    table = _table(raw, section, variable, origin)
    name = ".".join((*section, key))
    table[key] = [one for one in value.split(",") if one] if name in _LISTS else value
    return name


def _table(
    raw: dict[str, Any], keys: tuple[str, ...], variable: str, origin: Mapping[str, str]
) -> dict[str, Any]:
    """Return the nested table that a variable belongs to; create it if it is missing."""
    table = raw
    for depth, key in enumerate(keys, start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            name = ".".join(keys[:depth])
            raise ConfigError(f"{name}: must be a table, because {variable} is set{_source(name, origin)}")
    return table


def _locate(variable: str, providers: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Return the section and the key of the setting that a variable sets."""
    rest = variable.removeprefix("CLARION_").lower()
    if rest == "data_dir":
        return (), rest
    section, _, key = rest.partition("_")
    if section == "providers":
        for provider in sorted(providers, key=len, reverse=True):
            prefix = provider.replace("-", "_") + "_"
            if key.startswith(prefix):
                return ("providers", provider), key.removeprefix(prefix)
    elif section in _SECTIONS and key in {f.name for f in msgspec.structs.fields(_SECTIONS[section])}:
        return (section,), key
    raise ConfigError(
        f"unknown setting {variable} (environment variable); docs/reference/configuration.md lists them"
    )


def _convert(raw: dict[str, Any], origin: Mapping[str, str]) -> Settings:
    try:
        # Not strict: environment variables are text, so numbers and booleans may be text.
        return msgspec.convert(raw, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        name = where.rstrip("`").lstrip(".")
        if unknown := re.search(r"unknown field `(.+?)`", what):
            name, what = ".".join(filter(None, (name, unknown[1]))), "unknown setting"
        elif name in _SECTIONS and (own := re.match(r"([a-z_]+): (.*)", what)):  # from its __post_init__
            name, what = f"{name}.{own[1]}", own[2]
        raise ConfigError(f"{name or 'the configuration'}: {what}{_source(name, origin)}") from error


def _source(name: str, origin: Mapping[str, str]) -> str:
    """Return where a setting or its section came from, as a suffix for a message; empty for a default."""
    setting = name.partition("[")[0]  # an error in an array or a provider also names the element
    for above in (setting, setting.rpartition(".")[0]):
        for known, source in origin.items():
            if above and (known == above or known.startswith(f"{above}.")):
                return f" (from {source})"
    return ""


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    # Not a ValidationError: msgspec adds the setting's name only to other errors.
    raise TypeError(f"Expected a path, got `{type(value).__name__}`")


def _check_providers(settings: Settings, origin: Mapping[str, str]) -> None:
    for name, table in settings.providers.items():
        source = _source(f"providers.{name}", origin)
        if not _PROVIDER_NAME.fullmatch(name):
            raise ConfigError(f"providers.{name}: a provider's name may only contain a-z, 0-9 and -{source}")
        if not isinstance(table.get("type"), str):
            raise ConfigError(
                f"providers.{name}.type is missing; set it to sandbox or smtp, for example{source}"
            )
