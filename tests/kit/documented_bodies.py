"""The documented examples of the REST contract."""

from __future__ import annotations

__all__ = ["EMAIL", "PUSH", "TEXT"]

# The bodies of the documented examples, exactly as they are printed there.
EMAIL = """{
    "user": {
        "external_id": "EXTERNAL_ID",
        "email": "test@test.com",
        "timezone": "America/Chicago",
        "locale": "en",
    },
    "event": {
        "random_field": "value"
    }
}"""
TEXT = EMAIL.replace('"email": "test@test.com"', '"phone": "+12345678900"')
PUSH = EMAIL.replace('"email": "test@test.com"', '"device_token": "DEVICE_TOKEN"')
