"""Settings: file and environment, and errors that name setting, problem and source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server import config
from server.config import Settings, load
from server.dispatcher.providers import build
from server.errors import ConfigError
from server.up import demo

EXAMPLE = Path(demo.__file__).parent / "clarion.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "clarion.toml"
    path.write_text(text, encoding="utf-8")
    return path


def names(kind: Any = Settings, prefix: str = "") -> set[str]:
    """Every setting's dotted name, without providers."""
    found: set[str] = set()
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found |= names(field.type, f"{prefix}{field.name}.")
        elif field.name != "providers":
            found.add(prefix + field.name)
    return found


def test_without_file_and_variables_there_are_the_defaults() -> None:
    assert load(None, {}) == Settings()


def test_the_example_holds_exactly_the_defaults() -> None:
    assert load(EXAMPLE, {}) == Settings()


def test_the_example_names_every_setting() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    given: set[str] = set()
    section = ""
    for line in text.splitlines():
        if header := re.match(r"\[([a-z.]+)\]", line):
            section = f"{header[1]}."
        elif setting := re.match(r"([a-z_]+) = ", line):
            given.add(section + setting[1])
    assert {name for name in given if not name.startswith("providers.")} == names()


def test_the_example_of_a_provider_is_valid(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").partition("# [providers.smtp]")[2].splitlines()
    section = "\n".join(["[providers.smtp]", *(line.removeprefix("# ") for line in lines)])
    table = load(write(tmp_path, section), {"CLARION_PROVIDERS_SMTP_PASSWORD": "x"}).providers["smtp"]
    assert build("smtp", table, data_dir=tmp_path).name == "smtp"


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nprocesses = 2\ndeadline = 3\n[gateway]\nupstreams = ['a:1']\n")
    settings = load(
        path,
        {
            "CLARION_SERVER_PROCESSES": "4",
            "CLARION_GATEWAY_UPSTREAMS": "b:1,c:2",
            "CLARION_WEBHOOKS_ALLOW": "10.1.0.0/16,fd00:1::/64",
            "CLARION_GATEWAY_ACCESS_LOG": "true",
            "CLARION_DATA_DIR": "somewhere",
            "CLARION_LIMITS_PER_KEY": "2.5",
        },
    )
    assert (settings.server.processes, settings.server.deadline) == (4, 3)
    assert settings.gateway.upstreams == ("b:1", "c:2")
    assert settings.webhooks.allow == ("10.1.0.0/16", "fd00:1::/64")
    assert load(path, {"CLARION_WEBHOOKS_ALLOW": ""}).webhooks.allow == ()
    assert settings.gateway.access_log is True
    assert settings.data_dir == Path("somewhere")
    assert settings.limits.per_key == 2.5


def test_a_providers_password_comes_from_a_variable(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[providers.smtp-eu]\ntype = "smtp"\nhost = "h"\n[providers.smtp]\ntype = "smtp"\n'
    )
    settings = load(
        path, {"CLARION_PROVIDERS_SMTP_EU_PASSWORD": "p1", "CLARION_PROVIDERS_SMTP_PASSWORD": "p2"}
    )
    assert settings.providers["smtp-eu"] == {"type": "smtp", "host": "h", "password": "p1"}
    assert settings.providers["smtp"] == {"type": "smtp", "password": "p2"}


def test_a_provider_can_be_made_from_variables_alone() -> None:
    settings = load(
        None, {"CLARION_PROVIDERS_SMTP_EU_TYPE": "smtp", "CLARION_PROVIDERS_SMTP_EU_LOCAL_HOSTNAME": "h"}
    )
    assert settings.providers == {
        "sandbox": {"type": "sandbox"},
        "smtp-eu": {"type": "smtp", "local_hostname": "h"},
    }


def test_a_variable_for_the_sandbox_leaves_it_a_sandbox() -> None:
    settings = load(None, {"CLARION_PROVIDERS_SANDBOX_CONCURRENCY": "2"})
    assert settings.providers == {"sandbox": {"type": "sandbox", "concurrency": "2"}}


def test_type_variable_applies_to_the_provider_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[providers.mail-eu]\nhost = "h"\n')
    settings = load(path, {"CLARION_PROVIDERS_MAIL_EU_TYPE": "smtp"})
    assert settings.providers == {"mail-eu": {"type": "smtp", "host": "h"}}


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("PORT", "many", r"providers\.smtp\.port: expected `int"),
        ("VERIFY", "maybe", r"providers\.smtp\.verify: "),
    ],
)
def test_a_providers_numbers_and_booleans_may_be_text(
    tmp_path: Path, setting: str, value: str, said: str
) -> None:
    variables = {"TYPE": "smtp", "HOST": "h", "PORT": "2525", "VERIFY": "false", "TIMEOUT": "2.5"}

    def built(**changes: str) -> Any:
        given = {f"CLARION_PROVIDERS_SMTP_{key}": text for key, text in {**variables, **changes}.items()}
        return build("smtp", load(None, given).providers["smtp"], data_dir=tmp_path)

    assert built().policy.timeout == 2.5
    with pytest.raises(ConfigError, match=said):
        built(**{setting: value})


def test_variables_that_are_no_settings_are_left_alone() -> None:
    assert load(None, {"CLARION_API_KEY": "x", "CLARION_CONFIG": "x", "CLARION_TARGET": "x", "PATH": "x"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[server]\nprocesses = 0\n", r"server\.processes: .*>= 1.*\(from .*clarion\.toml\)"),
        ("[server]\nprocesses = 'many'\n", r"server\.processes: .*\(from .*clarion\.toml\)"),
        ("[server]\nworkers = 1\n", r"server\.workers: unknown setting \(from .*clarion\.toml\)"),
        ("[servers]\nprocesses = 1\n", r"servers: unknown setting \(from .*clarion\.toml\)"),
        ("wrong = 1\n", r"wrong: unknown setting \(from .*clarion\.toml\)"),
        ("server = 1\n", r"server: .*\(from .*clarion\.toml\)"),
        ("data_dir = 1\n", r"data_dir: .*path.*\(from .*clarion\.toml\)"),
        ("[log]\nlevel = 'loud'\n", r"log\.level: .*loud.*\(from .*clarion\.toml\)"),
        ("[gateway]\nupstreams = [1]\n", r"gateway\.upstreams\[.*\]: .*\(from .*clarion\.toml\)"),
        ("[servers]\n", r"servers: unknown setting \(from .*clarion\.toml\)"),
        ("[providers.Bad_Name]\ntype = 'smtp'\n", r"providers\.Bad_Name: .*\(from .*clarion\.toml\)"),
        ("[providers.smtp]\nhost = 'h'\n", r"providers\.smtp\.type is missing.*\(from .*clarion\.toml\)"),
        ("[gateway]\nupstreams = ['a']\n", r"^gateway\.upstreams: 'a' must be .*\(from .*clarion\.toml\)$"),
        ("[gateway]\ntls_key = '/k'\n", r"^gateway\.tls_certificate: is missing.*\(from .*clarion\.toml\)$"),
        ("[server\n", r"clarion\.toml is not valid TOML: .*line 1"),
    ],
)
def test_error_in_the_file_names_the_file(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text), {})
    assert re.search(problem, str(raised.value)), raised.value
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("CLARION_SERVER_PROCESSES", "0", "server.processes"),
        ("CLARION_SERVER_PROCESSES", "many", "server.processes"),
        ("CLARION_SERVER_REFLECTION", "maybe", "server.reflection"),
        ("CLARION_GATEWAY_PORT", "65536", "gateway.port"),
        ("CLARION_SERVER_DEADLINE", "nan", "server.deadline"),
        ("CLARION_SERVER_DEADLINE", "inf", "server.deadline"),
        ("CLARION_SERVER_WORKERS", "1", "unknown setting"),
        ("CLARION_NOTHING", "1", "unknown setting"),
        ("CLARION_PROVIDERS_OTHER_HOST", "h", "unknown setting"),
    ],
)
def test_error_in_a_variable_names_the_variable(name: str, value: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=name) as raised:
        load(None, {name: value})
    assert setting in str(raised.value)


def test_the_source_named_is_that_of_the_very_setting(tmp_path: Path) -> None:
    path = write(tmp_path, "[limits]\nper_key_burst = 10\n")
    with pytest.raises(ConfigError, match="from environment variable CLARION_LIMITS_PER_KEY"):
        load(path, {"CLARION_LIMITS_PER_KEY": "-1"})


def test_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "clarion.toml"
    path.write_text("[server]\nprocesses = 3\n", encoding="utf-8-sig")
    assert load(path, {}).server.processes == 3


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*none\.toml: No such file"):
        load(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    "text",
    ["server = 1\n", "providers = 1\n", "[[providers]]\n", "[providers]\nsandbox = 1\n"],
)
def test_a_setting_in_place_of_a_table_is_one_clear_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^[a-z.]+: must be a table.*\(from .*clarion\.toml\)$"):
        load(
            write(tmp_path, text),
            {"CLARION_SERVER_PROCESSES": "1", "CLARION_PROVIDERS_SANDBOX_TYPE": "sandbox"},
        )


def test_secrets_stand_in_no_repr(tmp_path: Path) -> None:
    path = write(tmp_path, '[providers.smtp]\ntype = "smtp"\npassword = "hunter2"\n')
    settings = load(path, {"CLARION_DATABASE_URL": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.database)
    assert "hunter2" not in repr([*settings.__rich_repr__(), *settings.database.__rich_repr__()])
    assert "providers=['smtp']" in repr(settings)


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(AttributeError):
        settings.data_dir = Path("other")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        settings.server.processes = 2  # type: ignore[misc]


def test_every_section_is_public() -> None:
    assert {name for name in vars(config) if name.endswith("Settings")} <= set(config.__all__)
