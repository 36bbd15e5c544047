"""Attacks Clarion without a valid key or from another project, and measures the calls of a valid key."""
