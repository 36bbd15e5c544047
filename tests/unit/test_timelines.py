"""A primary with an older timeline than a server of its cluster has reported is refused."""

from __future__ import annotations

import pytest
import structlog

from server.store.timelines import Replaced, Timelines


def test_an_older_timeline_is_refused_and_logged_once() -> None:
    timelines = Timelines()
    assert not timelines
    timelines.note(7, 2)
    timelines.note(7, 1)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(Replaced, match="timeline 1, newest 2"):
                timelines.require_newest(7, 1, "db1:5432")
    assert [(one["server"], one["timeline"], one["newest_timeline"]) for one in logs] == [("db1:5432", 1, 2)]


def test_clusters_are_compared_separately() -> None:
    timelines = Timelines()
    timelines.note(7, 9)
    timelines.require_newest(8, 1, "other:5432")
    timelines.require_newest(7, 9, "db1:5432")
    timelines.require_newest(7, 10, "db2:5432")
    assert timelines.is_newest(8, 1)
    assert not timelines.is_newest(7, 8)
