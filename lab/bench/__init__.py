"""`make bench`: Clarion beside the ceiling of its own gateway. See docs/benchmarks.md."""
