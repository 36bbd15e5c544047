"""Runs Envoy: start, hot restart, drain, TLS renewal."""
