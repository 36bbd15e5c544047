"""Experiments on the real product: benchmarks and fault injection."""
