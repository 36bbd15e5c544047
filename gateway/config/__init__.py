"""Writes the configuration of Envoy as plain data."""
