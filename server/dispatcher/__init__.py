"""Delivery: claims due triggers, renders them, hands them to providers, and tries again."""
