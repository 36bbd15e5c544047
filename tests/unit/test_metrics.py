"""The histogram of the event loop, next to the library's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from server.metrics import REGISTRY, LoopHistogram
from tests.kit.prometheus import parsed

BOUNDS = (0.001, 0.5, 1, 2.5)


def test_it_counts_as_the_library_does() -> None:
    values = [0.0, *BOUNDS, 99.0, *(number * 0.037 % 3 for number in range(100))]
    registry = CollectorRegistry()
    library = Histogram("tested", "Tested.", ["a", "b"], buckets=BOUNDS, registry=registry)
    ours = LoopHistogram("tested", "Tested.", ["a", "b"], buckets=BOUNDS)
    REGISTRY.unregister(ours)
    for value in values:
        library.labels("x", "y").observe(value)
        ours.labels("x", "y").observe(value)
    wanted = parsed(generate_latest(registry).decode())
    registry = CollectorRegistry()
    registry.register(ours)
    found = parsed(generate_latest(registry).decode())
    assert {name: value for name, value in wanted.items() if "_created" not in name} == found
