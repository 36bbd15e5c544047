"""Durable acceptance: group commit of triggers and idempotency keys."""
