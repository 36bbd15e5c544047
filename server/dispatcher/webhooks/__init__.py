"""Webhooks: sends signed messages to the URLs of projects, except to addresses in private networks."""
