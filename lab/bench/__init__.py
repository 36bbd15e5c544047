"""Benchmarks of triggers, batches, delivery, claims and the client. See docs/benchmarks.md."""
