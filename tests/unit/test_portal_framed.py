"""Messages that the portal keeps for frames."""

from __future__ import annotations

from portal.framed import FramedMessages


def test_message_is_kept_for_its_session_and_ten_minutes() -> None:
    now = 0.0
    kept = FramedMessages(lambda: now)
    message_id = kept.put("mine", "<p>Hello")
    assert kept.get("mine", message_id) == "<p>Hello"
    assert kept.get("another", message_id) is None
    assert kept.get("mine", "unknown") is None
    now = 599.0
    assert kept.get("mine", message_id) == "<p>Hello"
    now = 600.0
    assert kept.get("mine", message_id) is None


def test_oldest_messages_make_room() -> None:
    kept = FramedMessages(lambda: 0.0)
    large = "x" * 1024 * 1024
    ids = [kept.put("mine", large) for _ in range(20)]
    found = [kept.get("mine", one) for one in ids]
    assert found == [None] * 4 + [large] * 16
    assert kept.get("mine", kept.put("mine", "new")) == "new"
