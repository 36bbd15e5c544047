"""Starts the real product, and the servers that it talks to."""
