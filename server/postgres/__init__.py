"""Runs the embedded PostgreSQL."""
