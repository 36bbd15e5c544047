"""Runs Clarion on many machines, which are network namespaces of this one; `make machines` runs it."""
