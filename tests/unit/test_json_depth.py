"""The limit on the depth of JSON, which holds before any recursive decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.json_limits import exceeds_depth

VALUES = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\é,:x'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[]{}"\\é'), inner, max_size=3),
    max_leaves=40,
)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(value=VALUES, ascii_only=st.booleans())
def test_depth_is_the_decoded_values(value: Any, *, ascii_only: bool) -> None:
    text, depth = json.dumps(value, ensure_ascii=ascii_only), depth_of(value)
    for form in (text, text.encode()):
        assert not exceeds_depth(form, depth)
        assert depth == 0 or exceeds_depth(form, depth - 1)


@pytest.mark.parametrize("levels", [33, 1000, 1_000_000])
def test_unclosed_brackets_count(levels: int) -> None:
    assert exceeds_depth("[" * levels)
    assert not exceeds_depth('"' + "[" * levels)
