"""Counts what happens to messages, and reads the counts."""
