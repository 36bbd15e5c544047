"""Webhooks: messages to projects' own URLs, signed, and kept from reaching where nobody means them to."""
