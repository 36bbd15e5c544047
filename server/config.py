"""Settings: one TOML file plus environment variables, frozen and validated.

Each setting `[section] name` can be given as the environment variable `CLARION_SECTION_NAME`, which wins
over the file. Provider settings are `CLARION_PROVIDERS_<NAME>_<SETTING>`, so that a password never has to
stand in a file. An error names the setting, what is wrong with its value, and where the value came from.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .errors import ConfigError

__all__ = [
    "DatabaseSettings",
    "DispatchSettings",
    "GatewaySettings",
    "LimitSettings",
    "LogSettings",
    "ServerSettings",
    "Settings",
    "load",
]

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Grace = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class DatabaseSettings(_Section, frozen=True):
    """Where PostgreSQL is. An empty `url` means the embedded one, which only `clarion up` runs."""

    url: str = ""
    pool_size: Annotated[int, msgspec.Meta(ge=2, le=100)] = 6
    connect_timeout: Seconds = 5.0

    def __repr__(self) -> str:
        """Leave out the URL: it may hold a password."""
        return f"DatabaseSettings(url={'<set>' if self.url else '<embedded>'})"


class ServerSettings(_Section, frozen=True):
    """The gRPC server. `listen` is `host:port` or `unix:/path`; times in seconds."""

    listen: str = "127.0.0.1:8081"
    processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    deadline: Seconds = 5.0
    lame_duck: Grace = 2.0
    shutdown_grace: Grace = 5.0
    catalog_interval: Annotated[float, msgspec.Meta(gt=0, le=0.9)] = 0.25
    catalog_max_age: Seconds = 5.0
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2_000
    reflection: bool = True


class LimitSettings(_Section, frozen=True):
    """Calls per second that one key may make on one server process; 0 means no limit."""

    per_key: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 0.0
    per_key_burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100


class GatewaySettings(_Section, frozen=True):
    """Envoy. `upstreams` are the servers to balance over; times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Port = 8080
    upstreams: tuple[str, ...] = ("127.0.0.1:8081",)
    request_timeout: Seconds = 10.0
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=16 * 1024 * 1024)] = 65_536
    access_log: bool = False


class DispatchSettings(_Section, frozen=True):
    """The dispatcher. Times in seconds."""

    lease: Seconds = 60.0
    poll_interval: Seconds = 1.0
    shutdown_grace: Grace = 5.0


class LogSettings(_Section, frozen=True):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Settings(_Section, frozen=True):
    """All settings of one process. `data_dir` holds the embedded database and the sandbox's outbox."""

    data_dir: Path = Path(".clarion")
    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    gateway: GatewaySettings = GatewaySettings()
    dispatch: DispatchSettings = DispatchSettings()
    log: LogSettings = LogSettings()
    providers: Mapping[str, Mapping[str, Any]] = msgspec.field(
        default_factory=lambda: {"sandbox": {"type": "sandbox"}}
    )


_SECTIONS = {
    field.name: field.type
    for field in msgspec.structs.fields(Settings)
    if isinstance(field.type, type) and issubclass(field.type, _Section)
}
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
    for name, value in sorted(environ.items()):
        if name.startswith("CLARION_") and name not in _NOT_SETTINGS:
            origin[_apply_variable(raw, name, value)] = f"environment variable {name}"
    settings = _convert(raw, origin)
    _check_providers(settings, origin)
    return settings


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
        names += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return names


def _apply_variable(raw: dict[str, Any], name: str, value: str) -> str:
    """Put one variable's value where it belongs in `raw`; return the setting's dotted name."""
    section, key = _locate(name, raw)
    table = raw
    for part in section:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{part} must be a table, because {name} is set")
    table[key] = value.split(",") if (section, key) == (("gateway",), "upstreams") else value
    return ".".join((*section, key))


def _locate(name: str, raw: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    rest = name.removeprefix("CLARION_").lower()
    if rest == "data_dir":
        return (), rest
    section, _, key = rest.partition("_")
    if section == "providers":
        for provider in sorted(raw.get("providers", {"sandbox": {}}), key=len, reverse=True):
            prefix = provider.replace("-", "_") + "_"
            if key.startswith(prefix):
                return ("providers", provider), key.removeprefix(prefix)
    elif section in _SECTIONS and key in {f.name for f in msgspec.structs.fields(_SECTIONS[section])}:
        return (section,), key
    raise ConfigError(f"environment variable {name} names no setting; see docs/reference/configuration.md")


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
        source = next((o for n, o in origin.items() if n == name or n.startswith(name)), "")
        raise ConfigError(f"{name}: {what}{f' (from {source})' if source else ''}") from error


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise msgspec.ValidationError(f"Expected a path, got `{type(value).__name__}`")


def _check_providers(settings: Settings, origin: Mapping[str, str]) -> None:
    for name, table in settings.providers.items():
        source = next((o for n, o in origin.items() if n.startswith(f"providers.{name}.")), "defaults")
        if not _PROVIDER_NAME.fullmatch(name):
            raise ConfigError(f"providers.{name}: a provider's name has only a-z, 0-9 and - (from {source})")
        if not isinstance(table.get("type"), str):
            raise ConfigError(
                f"providers.{name}.type is missing: for example sandbox or smtp (from {source})"
            )
