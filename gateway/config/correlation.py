"""The headers by which callers find a call in logs and traces: `x-request-id` and `traceparent`.

Envoy replaces a caller's request ID by its own. A copy is made before that, and restored if it is short and
has only safe characters, because it is logged. A well-formed `traceparent` is returned in the answer.
"""

from __future__ import annotations

from typing import Any

__all__ = ["COPY", "copies", "correlation"]

Config = dict[str, Any]

COPY = "x-clarion-request-id"
"""Holds the request ID that the caller sent, between Envoy's decoder and its filters."""
REQUEST_ID, TRACEPARENT = "x-request-id", "traceparent"
SAFE_ID = "[A-Za-z0-9][A-Za-z0-9._~:/+=@-]{0,127}"
# As in server/domain/trace.py; RE2 has no look-ahead, so all zeros and the version ff pass here.
TRACE_CONTEXT = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?"
MUTATION = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
MATCHING = "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher"
INPUT = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
SKIP = "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"


def copies() -> list[Config]:
    """Return the mutation that copies the caller's request ID. A forged copy has been removed before."""
    return [{"append": _set(COPY, REQUEST_ID)}]


def correlation() -> list[Config]:
    """Return the filters that restore the caller's request ID and return its trace context."""
    restored = [{"append": _set(REQUEST_ID, COPY)}]
    returned = [{"append": _set(TRACEPARENT, TRACEPARENT)}]
    return [
        _if_matches("clarion.request_id", COPY, SAFE_ID, {"request_mutations": restored}),
        _if_matches("clarion.trace", TRACEPARENT, TRACE_CONTEXT, {"response_mutations": returned}),
    ]


def _set(name: str, source: str) -> Config:
    """Return a header with the value of one of the request."""
    header = {"key": name, "value": f"%REQ({source})%"}
    return {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _if_matches(name: str, header: str, pattern: str, mutations: Config) -> Config:
    """Return a filter that changes headers if a header of the request matches a pattern."""
    given = {
        "input": {"name": "header", "typed_config": {"@type": INPUT, "header_name": header}},
        "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
    }
    skip = {"action": {"name": "skip", "typed_config": {"@type": SKIP}}}
    unmatched = {"predicate": {"not_matcher": {"single_predicate": given}}, "on_match": skip}
    change = {"@type": MUTATION, "mutations": mutations}
    return {
        "name": name,
        "typed_config": {
            "@type": MATCHING,
            "extension_config": {"name": "envoy.filters.http.header_mutation", "typed_config": change},
            "xds_matcher": {"matcher_list": {"matchers": [unmatched]}},
        },
    }
