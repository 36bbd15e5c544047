"""The queues of triggers and webhook messages, from claim to outcome."""
