"""Which hosts a database URL names."""

from __future__ import annotations

import pytest

from server.store.hosts import hosts_of


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@db1,db2/d", [("db1", 5432), ("db2", 5432)]),
        ("postgresql://u:p%40,x@db1:6432,db2/d", [("db1", 6432), ("db2", 5432)]),
        ("postgresql://u:p@q@db1,db2/d", [("db1", 5432), ("db2", 5432)]),
        ("postgresql://[::1]:6432,[fe80::2]/d", [("::1", 6432), ("fe80::2", 5432)]),
        ("postgresql:///d?host=db1,db2&port=1,2", [("db1", 1), ("db2", 2)]),
        ("postgresql:///d?host=db1,db2&port=6432", [("db1", 6432), ("db2", 6432)]),
        ("postgresql://u@/d?host=/run/one,/run/two", [("/run/one", 5432), ("/run/two", 5432)]),
    ],
)
def test_each_host_has_its_port(url: str, hosts: list[tuple[str, int]]) -> None:
    assert [(one["host"], one["port"]) for one in hosts_of(url, {})] == hosts


def test_environment_names_hosts_that_the_url_does_not() -> None:
    environ = {"PGHOST": "db1,db2", "PGPORT": "6432"}
    found = hosts_of("postgresql:///d", environ)
    assert found == [{"host": "db1", "port": 6432}, {"host": "db2", "port": 6432}]


@pytest.mark.parametrize(
    "url", ["postgresql://u@db1:1/d", "postgresql:///d?host=/run/x", "postgresql://", ""]
)
def test_one_host_is_left_to_the_driver(url: str) -> None:
    assert hosts_of(url, {}) == [{}]


@pytest.mark.parametrize("url", ["postgresql://u:secret@a:x,b/d", "postgresql:///d?host=a,b,c&port=1,2"])
def test_invalid_ports_are_rejected_without_the_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number|need one port") as raised:
        hosts_of(url, {})
    assert "secret" not in str(raised.value)
