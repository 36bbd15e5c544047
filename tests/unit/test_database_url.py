"""The database's URL: every parameter of libpq is honoured or refused by name, and no password is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from asyncpg import connect_utils

from server.errors import ConfigError
from server.store.database_url import DatabaseUrl, parse_database_url
from server.store.primary import exposed_to
from tests.kit.cases import each_case

SECRET = "s3cret"


def parse(url: str, **environ: str) -> DatabaseUrl:
    return parse_database_url(url, environ)


def as_driver(url: DatabaseUrl) -> Any:
    """Return the addresses and parameters that the driver reads from its URL."""
    return connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]
        dsn=url.driver_url, host=None, port=None, user=None, password=None, passfile=None, database=None,
        ssl=None, service=None, servicefile=None, direct_tls=None, server_settings=None,
        target_session_attrs=None, krbsrvname=None, gsslib=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "addresses", "login"),
    [
        ("postgresql://u:p@h/d", [("h", 5432)], ("u", "p", "d")),
        ("postgres://u@h:5433/d", [("h", 5433)], ("u", None, "d")),
        ("  postgresql://u:p@h/d\n", [("h", 5432)], ("u", "p", "d")),
        ("postgresql://u:a%40b%2Fc%3A%25@h/d", [("h", 5432)], ("u", "a@b/c:%", "d")),
        ("postgresql://u:p:q@h/d", [("h", 5432)], ("u", "p:q", "d")),
        ("postgresql://u@h1:1,h2:2/d", [("h1", 1), ("h2", 2)], ("u", None, "d")),
        ("postgresql://u@h1,h2/d?port=7", [("h1", 7), ("h2", 7)], ("u", None, "d")),
        ("postgresql://u@[::1]:5433/d", [("::1", 5433)], ("u", None, "d")),
        ("postgresql://u@/d?host=/run/x&port=5", ["/run/x/.s.PGSQL.5"], ("u", None, "d")),
        ("postgresql://u@%2Frun%2Fx/d", ["/run/x/.s.PGSQL.5432"], ("u", None, "d")),
        ("postgresql:///d?host=h&user=u&password=a%40b", [("h", 5432)], ("u", "a@b", "d")),
        ("postgresql://h/?dbname=d&user=u", [("h", 5432)], ("u", None, "d")),
    ],
)
def test_the_driver_reads_what_libpq_would(
    url: str, addresses: list[Any], login: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/no/such/file")
    found, parameters = as_driver(parse(url))
    assert found == addresses
    assert (parameters.user, parameters.password, parameters.database) == login


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@db1,db2/d", [("db1", 5432), ("db2", 5432)]),
        ("postgresql://u:p%40,x@db1:6432,db2/d", [("db1", 6432), ("db2", 5432)]),
        ("postgresql://[::1]:6432,[fe80::2]/d", [("::1", 6432), ("fe80::2", 5432)]),
        ("postgresql:///d?host=db1,db2&port=1,2", [("db1", 1), ("db2", 2)]),
        ("postgresql://u@/d?host=/run/one,db2&port=6432", [("/run/one", 6432), ("db2", 6432)]),
    ],
)
def test_each_of_several_hosts_has_its_port(url: str, hosts: list[tuple[str, int]]) -> None:
    assert [(one["host"], one["port"]) for one in parse(url).hosts] == hosts


@pytest.mark.parametrize("url", ["postgresql://u@db1:1/d", "postgresql:///d?host=/run/x", "postgresql://"])
def test_one_host_is_left_to_the_driver(url: str) -> None:
    assert parse(url).hosts == ({},)


def test_sslmode_reaches_the_driver() -> None:
    for url, environ in (
        ("postgresql://h/d?sslmode=require", {}),
        ("postgresql://h/d?ssl=true", {}),
        ("postgresql://h/d", {"PGSSLMODE": "require"}),
    ):
        _, parameters = as_driver(parse_database_url(url, environ))
        assert parameters.sslmode.name == "require"
        assert not parameters.server_settings


def test_clarion_honours_what_the_driver_does_not() -> None:
    options = "options=-c%20search_path%3Dapp%20--statement-timeout%3D3s%20-cjit%3Doff"
    url = parse(f"postgresql://h/d?connect_timeout=7&application_name=shop&{options}")
    assert (url.connect_timeout, url.application_name) == (7.0, "shop")
    assert url.settings == {"search_path": "app", "statement_timeout": "3s", "jit": "off"}
    assert "options" not in url.driver_url
    assert as_driver(parse("postgresql:///d", PGHOST="h1,h2", PGPORT="7"))[0] == [("h1", 7), ("h2", 7)]
    same = parse("postgresql://h/d", PGCONNECT_TIMEOUT="7", PGAPPNAME="shop", PGOPTIONS="-c jit=off")
    assert (same.connect_timeout, same.application_name, same.settings) == (7.0, "shop", {"jit": "off"})
    assert parse("postgresql://h/d?connect_timeout=0").connect_timeout is None


def test_variables_do_not_reach_a_unix_socket() -> None:
    environ = {"PGSERVICE": "none", "PGCHANNELBINDING": "require", "PGOPTIONS": "-x", "PGPORT": "7"}
    url = parse_database_url("postgresql://clarion@/clarion?host=/run/x&port=5432", environ)
    assert as_driver(url)[0] == ["/run/x/.s.PGSQL.5432"]
    with pytest.raises(ConfigError, match='service "none"'):
        parse_database_url("postgresql://clarion@h/clarion", environ)


def test_values_that_change_nothing_are_accepted() -> None:
    query = "channel_binding=prefer&gssencmode=disable&client_encoding=UTF8&sslsni=1&sslcompression=0"
    assert "?" not in parse(f"postgresql://h/d?{query}").driver_url


@each_case(
    ("query", "named"),
    [
        ("channel_binding=require", 'channel_binding="require"'),
        ("gssencmode=require", 'gssencmode="require"'),
        ("client_encoding=latin1", 'client_encoding="latin1"'),
        ("load_balance_hosts=random", 'load_balance_hosts="random"'),
        ("target_session_attrs=standby", 'target_session_attrs="standby"'),
        ("sslmode=on", 'sslmode="on"'),
        ("sslrootcert=system", "sslrootcert=system"),
        ("sslrootcert=/no/such/file", 'sslrootcert: the file "/no/such/file"'),
        ("keepalives_idle=5", '"keepalives_idle"'),
        ("hostaddr=10.0.0.1", '"hostaddr"'),
        ("statement_timeout=3s", "options=-c"),
        ("connect_timeout=soon", 'connect_timeout "soon"'),
        ("options=-d%205", 'options: "-d"'),
        ("options=-c%20'", "options: "),
        ("port=x", "port"),
        ("port=0", "port"),
        ("host=a,b,c&port=1,2", "3 hosts"),
        ("sslmode", "question mark"),
    ],
)
def test_what_is_not_supported_is_named(query: str, named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f"postgresql://u:{SECRET}@h/d?{query}")
    assert str(raised.value).startswith("database.url: ")
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:zk@xq@h/d",
        "postgresql://u:zk/xq@h/d",
        "postgresql://u:12/xq@h/d",
        "postgresql://u:zk#xq@h/d",
        "postgresql://u:zk?xq@h/d",
        "postgresql://u:zk[xq@h:x/d",
        "postgresql://u:12@h:xq/d",
        "postgresql://u:xq@h:70000/d",
        "mysql://u:xq@h/d",
        "host=h password=xq",
        "xq",
    ],
)
def test_no_part_of_a_malformed_url_is_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="percent-encode") as raised:
        parse(url)
    assert "zk" not in str(raised.value)
    assert "xq" not in str(raised.value)


def test_services_are_read_as_by_libpq(tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("[shop]\nhost=db1,db2\nport=6000\nuser=u\npassword=p%3=\ndbname=d\nsslmode=require\n")
    url = parse("postgresql:///?service=shop&user=other", PGSERVICEFILE=str(file))
    found, parameters = as_driver(url)
    assert found == [("db1", 6000), ("db2", 6000)]
    assert (parameters.user, parameters.password, parameters.database) == ("other", "p%3=", "d")
    assert parameters.sslmode.name == "require"
    assert parse("postgresql://", PGSERVICE="shop", PGSERVICEFILE=str(file)).driver_url.startswith(
        "postgresql://u:p%253%3D@db1:6000,db2:6000/d"
    )


def test_a_missing_or_malformed_service_is_named(tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text(f"[shop]\nhost=h\npassword={SECRET}\nkeepalives=0\n[broken\n{SECRET}\n")
    for url, environ, named in (
        ("postgresql:///?service=none", {"HOME": str(tmp_path)}, 'service "none"'),
        ("postgresql:///?service=shop", {"PGSERVICEFILE": str(file)}, "malformed"),
    ):
        with pytest.raises(ConfigError, match=named) as raised:
            parse_database_url(url, environ)
        assert SECRET not in str(raised.value)


def test_reprs_and_errors_hide_the_password() -> None:
    url = parse(f"postgresql://u:{SECRET}%40x@h/d")
    assert SECRET not in repr(url)
    assert url.without_secrets(f"{SECRET}@x and {SECRET}%40x") == "[hidden] and [hidden]"


class Wire(asyncio.BaseTransport):
    """A transport to this address."""

    def __init__(self, address: object, *, tls: bool = False) -> None:
        super().__init__({"peername": address, "ssl_object": object() if tls else None})


@pytest.mark.parametrize(
    ("wire", "exposed"),
    [
        (Wire(("10.0.0.5", 5432)), "10.0.0.5"),
        (Wire(("fe80::2", 5432, 0, 2)), "fe80::2"),
        (Wire(("10.0.0.5", 5432), tls=True), None),
        (Wire(("127.0.0.1", 5432)), None),
        (Wire(("::1", 5432, 0, 0)), None),
        (Wire("/run/postgresql/.s.PGSQL.5432"), None),
        (Wire(""), None),
    ],
)
def test_remote_servers_without_tls_are_exposed(wire: Wire, exposed: str | None) -> None:
    assert exposed_to(wire) == exposed
