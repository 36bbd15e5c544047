"""What the audit page shows of a change."""

from __future__ import annotations

import json

import pytest

from portal.changes import FieldChange, field_changes
from portal.words import label_of


def test_only_what_differs_is_shown() -> None:
    before = {"burst": 5, "timezone": "UTC", "scopes": ["read", "trigger"], "expire_time": None}
    after = {"burst": 7, "timezone": "UTC", "scopes": ["read"], "expire_time": "2027-01-02T03:04:05.6Z"}
    assert field_changes(json.dumps(before), json.dumps(after)) == [
        FieldChange("Burst", "5", "7"),
        FieldChange("Scopes", "read, trigger", "read"),
        FieldChange("Expire time", "", "2027-01-02 03:04 UTC"),
    ]


def test_new_values_that_say_nothing_are_left_out() -> None:
    after: dict[str, object] = {
        "name": "a",
        "burst": None,
        "campaign_ids": [],
        "managed_by": "",
        "limit": 0,
        "strict": False,
    }
    found = field_changes("", json.dumps(after))
    assert [(one.label, one.new) for one in found] == [("Name", "a"), ("Limit", "0"), ("Strict", "no")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1}, '{"a": 1}'),
        ([{"a": "é"}], '[{"a": "é"}]'),
        ("9999-12-31T23:59:59-23:00", "9999-12-31T23:59:59-23:00"),
        ("2027-99-99T00:00 is not a time", "2027-99-99T00:00 is not a time"),
        ("x" * 301, "x" * 300 + "…"),
        ([1, True], "1, True"),
    ],
)
def test_any_value_becomes_text(value: object, text: str) -> None:
    assert field_changes(json.dumps({"v": value}), "") == [FieldChange("V", text, "")]


@pytest.mark.parametrize(("before", "after"), [("", ""), ("null", "[1]"), ('"a"', "1")])
def test_what_is_not_an_object_has_no_fields(before: str, after: str) -> None:
    assert field_changes(before, after) == []


@pytest.mark.parametrize(
    ("name", "label"),
    [("campaign_id", "Campaign ID"), ("trigger_ids", "Trigger IDs"), ("external_id", "User"), ("", "")],
)
def test_labels_are_words(name: str, label: str) -> None:
    assert label_of(name) == label
