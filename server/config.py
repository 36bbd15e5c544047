"""Settings: one TOML file plus environment variables, frozen and validated.

Each setting `[section] name` can be given as the environment variable `CLARION_SECTION_NAME`, which wins
over the file. Provider settings are `CLARION_PROVIDERS_<NAME>_<SETTING>`, so that a password never has to
stand in a file; `CLARION_PROVIDERS_<NAME>_TYPE` makes a provider that the file does not have. An error names
the setting, what is wrong with its value, and where the value came from.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .dispatcher.settings import DispatchSettings
from .errors import ConfigError

__all__ = [
    "DatabaseSettings",
    "DispatchSettings",
    "GatewaySettings",
    "LimitSettings",
    "LogSettings",
    "ServerSettings",
    "Settings",
    "WebhookSettings",
    "load",
]

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Burst = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Grace = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Return what a repr shows: a section that may hold secrets leaves them out here."""
        return [(name, getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        """Show what `__rich_repr__` does: reprs end in logs."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class DatabaseSettings(_Section, frozen=True):
    """Where PostgreSQL is. An empty `url` means the embedded one, which only `clarion up` runs."""

    url: str = ""
    pool_size: Annotated[int, msgspec.Meta(ge=2, le=100)] = 6
    connect_timeout: Seconds = 5.0

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Leave out the URL: it may hold a password."""
        return [("url", "<set>" if self.url else "<embedded>")]


class ServerSettings(_Section, frozen=True):
    """The gRPC server. `listen` is `host:port` or `unix:/path`; times in seconds."""

    listen: str = "127.0.0.1:8081"
    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    deadline: Seconds = 5.0
    lame_duck: Grace = 2.0
    shutdown_grace: Grace = 5.0
    catalog_interval: Annotated[float, msgspec.Meta(gt=0, le=0.9)] = 0.25
    catalog_max_age: Seconds = 5.0
    max_concurrent: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    max_watchers: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
    reflection: bool = True
    idempotency_ttl: Annotated[float, msgspec.Meta(ge=60, le=31_536_000)] = 86_400.0


class LimitSettings(_Section, frozen=True):
    """Calls a second of keys and projects that have no limit of their own; a rate of 0 means no limit."""

    per_key: Rate = 0.0
    per_key_burst: Burst = 100
    per_project: Rate = 0.0
    per_project_burst: Burst = 100


class GatewaySettings(_Section, frozen=True):
    """Envoy. `upstreams` are the servers to balance over; times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Port = 8080
    upstreams: tuple[str, ...] = ("127.0.0.1:8081",)
    request_timeout: Seconds = 10.0
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)] = 65_536
    max_batch_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2 * 1024 * 1024)] = 2 * 1024 * 1024
    max_heap_bytes: Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024, le=2**40)] = 1024 * 1024 * 1024
    # gRPC's own queue holds a thousand calls; more it cancels, without our words.
    max_concurrent_per_server: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 256
    latency_target: Annotated[float, msgspec.Meta(ge=0.001, le=10)] = 0.005
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    access_log: bool = False
    tls_certificate: str = ""
    tls_key: str = ""


class WebhookSettings(_Section, frozen=True):
    """Messages to projects' own URLs. `allow` are the networks beside the Internet; times in seconds."""

    allow: tuple[str, ...] = ()
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    keep: Annotated[float, msgspec.Meta(ge=345_600, le=31_536_000)] = 2_592_000.0
    ca_file: str = ""


class LogSettings(_Section, frozen=True):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


def _default_providers() -> dict[str, dict[str, Any]]:
    return {"sandbox": {"type": "sandbox"}}


class Settings(_Section, frozen=True):
    """All settings of one process. `data_dir` holds the embedded database and the sandbox's outbox."""

    data_dir: Path = Path(".clarion")
    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    gateway: GatewaySettings = GatewaySettings()
    dispatch: DispatchSettings = DispatchSettings()
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()
    providers: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=_default_providers)

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Leave out what the providers are given: passwords are among it."""
        shown = dict(super().__rich_repr__(), providers=sorted(self.providers))
        return list(shown.items())


_SECTIONS = {
    field.name: field.type
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
}
_LISTS = {"gateway.upstreams", "webhooks.allow"}
"""What a variable gives with commas between."""
_PROVIDER_TYPE = re.compile(r"CLARION_PROVIDERS_(.+)_TYPE")
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
# `clarion` reads these itself; they are no settings.
_NOT_SETTINGS = {"CLARION_CONFIG", "CLARION_API_KEY", "CLARION_TARGET"}


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read settings from the TOML file at `path` (none: defaults) and `CLARION_*` variables.

    Raises:
        ConfigError: a file that cannot be read, or a setting that is wrong; one line.
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
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} is not valid TOML: {error}") from error


def _leaves(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in table.items():
        inner = _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        names += inner or [f"{prefix}{key}"]
    return names


def _declare_provider(raw: dict[str, Any], variable: str, origin: Mapping[str, str]) -> None:
    """Make a table for the provider that a variable gives a type, unless the file has one."""
    declared = _PROVIDER_TYPE.fullmatch(variable)
    if declared:
        known = _table(raw, ("providers",), variable, origin)
        name = declared[1].lower().replace("_", "-")
        if name not in known:
            known[name] = {}


def _apply_variable(raw: dict[str, Any], variable: str, value: str, origin: Mapping[str, str]) -> str:
    """Put a variable's value where it belongs in `raw`; return the setting's dotted name."""
    section, key = _locate(variable, _table(raw, ("providers",), variable, origin))
    table = _table(raw, section, variable, origin)
    name = ".".join((*section, key))
    table[key] = [one for one in value.split(",") if one] if name in _LISTS else value
    return name


def _table(
    raw: dict[str, Any], place: tuple[str, ...], variable: str, origin: Mapping[str, str]
) -> dict[str, Any]:
    """Return the table at a place for a variable that needs it; make it if there is none."""
    table = raw
    for depth, part in enumerate(place, start=1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            name = ".".join(place[:depth])
            raise ConfigError(f"{name}: must be a table, because {variable} is set{_source(name, origin)}")
    return table


def _locate(variable: str, providers: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Return the section and the key of a variable's setting."""
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
        f"environment variable {variable} names no setting; see docs/reference/configuration.md"
    )


def _convert(raw: dict[str, Any], origin: Mapping[str, str]) -> Settings:
    try:
        # Environment variables are text, so numbers and booleans may be written as text.
        return msgspec.convert(raw, Settings, strict=False, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        name = where.rstrip("`").lstrip(".") or "the configuration"
        unknown = re.search(r"unknown field `(.+?)`", what)
        if unknown:
            name = f"{name}.{unknown[1]}" if where.strip("`.") else unknown[1]
            what = "there is no such setting"
        raise ConfigError(f"{name}: {what}{_source(name, origin)}") from error


def _source(name: str, origin: Mapping[str, str]) -> str:
    """Say where a setting, or what is below it, came from; nothing for a default."""
    setting = name.partition("[")[0]  # an error in an array or a provider also names the element
    found = (one for known, one in origin.items() if known == setting or known.startswith(f"{setting}."))
    source = next(found, "")
    return f" (from {source})" if source else ""


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    # Not a ValidationError: only to other errors msgspec adds the place.
    raise TypeError(f"Expected a path, got `{type(value).__name__}`")


def _check_providers(settings: Settings, origin: Mapping[str, str]) -> None:
    for name, table in settings.providers.items():
        source = _source(f"providers.{name}", origin)
        if not _PROVIDER_NAME.fullmatch(name):
            raise ConfigError(f"providers.{name}: a provider's name has only a-z, 0-9 and -{source}")
        if not isinstance(table.get("type"), str):
            raise ConfigError(f"providers.{name}.type is missing: for example sandbox or smtp{source}")
