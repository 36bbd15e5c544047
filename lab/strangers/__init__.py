"""Attacks by callers without a key, and what a good key still gets while each one runs."""
