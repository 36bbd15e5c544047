"""The tree of the gateway's routes: no Envoy needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from gateway.config import contract
from gateway.config.routes.tree import Branch, tree
from tests.kit.gateway_config import manager


@cache
def branches() -> dict[str, list[dict[str, Any]]]:
    (host,) = manager()["route_config"]["virtual_hosts"]
    return by_beginning(host["matcher"])


def by_beginning(matcher: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    paths = matcher["on_no_match"]["matcher"]["matcher_tree"]["prefix_match_map"]["map"]
    return {beginning: found["action"]["typed_config"]["routes"] for beginning, found in paths.items()}


def of_path(routes: list[dict[str, Any]], path: contract.RestPath) -> list[dict[str, Any]]:
    return [route for route in routes if route["match"].get("safe_regex", {}).get("regex") == path.regex]


@pytest.mark.parametrize("path", contract.load().paths, ids=lambda path: path.regex)
def test_all_routes_of_a_path_are_in_one_branch(path: contract.RestPath) -> None:
    found = {beginning: of_path(routes, path) for beginning, routes in branches().items()}
    (beginning,) = [beginning for beginning, routes in found.items() if routes]
    assert path.beginning.startswith(beginning)
    assert path.regex.startswith(path.beginning)
    assert "route" in found[beginning][-1]


def test_no_beginning_is_also_that_of_another() -> None:
    found = list(branches())
    assert not [(one, two) for one in found for two in found if one != two and one.startswith(two)]


def test_a_trigger_does_not_pay_for_other_routes() -> None:
    (trigger,) = [path for path in contract.load().paths if path.regex.endswith("/trigger")]
    routes = branches()["/api/client/campaigns"]
    own = of_path(routes, trigger)
    assert routes[: len(own)] == own


def test_branches_that_begin_alike_keep_their_order() -> None:
    longer, other, shorter = ({"match": {"path": path}} for path in ("/a/b", "/x", "/a"))
    made = tree([], [Branch("/a/b", [longer]), Branch("/x", [other]), Branch("/a", [shorter])], [])
    found = {beginning: routes[:-1] for beginning, routes in by_beginning(made).items()}
    assert found == {"/a": [longer, shorter], "/x": [other]}


def test_a_path_that_no_route_matches_gets_404() -> None:
    for routes in branches().values():
        assert routes[-1]["match"] == {"prefix": "/"}
        assert routes[-1]["direct_response"]["status"] == 404
