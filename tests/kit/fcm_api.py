"""FCM and Google's token endpoint as documented, which check each request and token."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.push import Push
from tests.kit.http_api import Api, Reply, Request

__all__ = [
    "ACCOUNT",
    "DEVICE",
    "KEY",
    "Google",
    "account_file",
    "bad_request",
    "fcm_error",
    "pem",
    "push",
    "refusal",
]

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - longer ones are slow to read
ACCOUNT = "clarion@news-46.iam.gserviceaccount.com"
DEVICE = "cRtEsT:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx_Zx"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class Google:
    """Answers as FCM and the token endpoint do, and checks each request and token."""

    def __init__(self) -> None:
        self.api: Api
        self.now = 1_700_000_000.0
        self.issued: list[str] = []
        self.refused: set[str] = set()
        self.messages: list[dict[str, Any]] = []
        self.to_token: list[Reply] = []
        self.to_send: list[Reply] = []
        self.lifetime = 3599
        self.held: asyncio.Event | None = None
        """What the token endpoint waits for before it answers."""

    def clock(self) -> float:
        return self.now

    def answer(self, request: Request) -> Reply:
        assert request.method == "POST"
        if request.target == "/token":
            return self.to_token.pop(0) if self.to_token else self._grant(request.form())
        assert request.target == "/v1/projects/news-46/messages:send"
        if request.bearer() not in self.issued or request.bearer() in self.refused:
            return refusal(401, "UNAUTHENTICATED")
        if self.to_send:
            return self.to_send.pop(0)
        self.messages.append(request.json()["message"])
        return Reply(200, {"name": f"projects/news-46/messages/0:{len(self.messages)}%31bd1c96"})

    def _grant(self, form: Mapping[str, str]) -> Reply:
        assert form.keys() == {"grant_type", "assertion"}
        assert form["grant_type"] == GRANT
        try:
            claims = jwt.decode(
                form["assertion"],
                KEY.public_key(),
                algorithms=["RS256"],
                audience=f"{self.api.url}/token",
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            return Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        assert jwt.get_unverified_header(form["assertion"])["kid"] == "key-1"
        assert claims["iss"] == ACCOUNT
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["iat"] <= self.now <= claims["exp"] <= claims["iat"] + 3600
        self.issued.append(f"ya29.token-{len(self.issued)}")
        grant = {"access_token": self.issued[-1], "expires_in": self.lifetime, "token_type": "Bearer"}
        return Reply(200, grant, held=self.held)


def refusal(status: int, canonical: str, *details: Mapping[str, Any], message: str = "No.") -> Reply:
    error = {"code": status, "message": message, "status": canonical, "details": list(details)}
    return Reply(status, {"error": error})


def fcm_error(code: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}


def bad_request(field: str) -> dict[str, Any]:
    violations = [{"field": field, "description": "Invalid"}]
    return {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}


def account_file(url: str, **changes: object) -> str:
    """Return the JSON of a service account whose tokens come from this server; None omits a member."""
    members = {
        "type": "service_account",
        "project_id": "news-46",
        "private_key_id": "key-1",
        "private_key": pem(KEY),
        "client_email": ACCOUNT,
        "token_uri": f"{url}/token",
    } | changes
    return json.dumps({name: value for name, value in members.items() if value is not None})


def push(**changes: Any) -> Push:
    fields = {"device_token": DEVICE, "title": "Grüße", "body": "Hallo Zoë 🎈", "data": {"campaign_id": "46"}}
    return Push(uuid.uuid4(), **fields | changes)
