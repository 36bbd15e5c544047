"""Bytes to a valid trigger: decode, validate, explain."""
