"""Firebase Cloud Messaging: push to Android, and to Apple and web apps that use Firebase.

HTTP v1: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import msgspec

from ...channels.base import Message
from ...channels.push import Push
from ...domain.campaign import Channel
from ...domain.delivery_errors import ProviderError, Verdict
from ..redact import scrub
from .http import Answer, ApiSettings, HttpApi, verdict_of_other
from .service_account import ServiceAccount
from .tokens import Clock, SharedToken, Token

__all__ = ["FcmProvider", "FcmSettings", "classify"]

MAX_PAYLOAD = 4096
"""Maximum size of the keys and values of one message that FCM accepts, in bytes."""
QUOTA_PAUSE = 60.0
"""Seconds to wait after a 429 without `Retry-After`, as FCM requires."""
MAX_TTL = 2_419_200
"""28 days, in seconds."""
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_DEVICE_TOKEN = re.compile(r"[A-Za-z0-9_:.=-]{1,4096}")
_MESSAGE_NAME = re.compile(r"projects/[\x21-\x7e]{1,500}")

# https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
_BY_CODE = {
    "UNREGISTERED": Verdict.RECIPIENT_REFUSED,  # the app was removed from the device
    "SENDER_ID_MISMATCH": Verdict.NEVER,  # the token belongs to another Firebase project, or our setting does
}
# https://cloud.google.com/apis/design/errors. With any other status, or without a readable error code:
# PROVIDER_DOWN. A refused login or an unknown project can be corrected, so no message is given up for it.
_BY_STATUS = {
    400: Verdict.NEVER,  # INVALID_ARGUMENT (also for a token of another service), FAILED_PRECONDITION
    413: Verdict.NEVER,  # payload too large
    422: Verdict.NEVER,  # unprocessable
}


class FcmSettings(ApiSettings, frozen=True, kw_only=True):
    """Settings of FCM. Times are in seconds."""

    service_account_file: Annotated[str, msgspec.Meta(min_length=1)]
    """The JSON key file of a service account with permission to send."""
    project_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]*\Z")] = ""
    """The Firebase project; empty for the service account's."""
    priority: Literal["high", "normal"] = "high"
    """`high` wakes a sleeping Android device."""
    ttl: Annotated[int, msgspec.Meta(ge=0, le=MAX_TTL)] = MAX_TTL
    """How long FCM keeps a message for an offline Android device."""
    in_doubt: Literal["repeat", "hold", "give_up"] = "repeat"
    """A repeated notification replaces the first one on the device."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Leave out `service_account_file`, which may contain the key itself by mistake."""
        return [("url", self.url), ("project_id", self.project_id)]


class FcmProvider:
    """Sends push notifications through FCM."""

    channels = frozenset({Channel.PUSH})

    def __init__(self, name: str, settings: FcmSettings, data_dir: Path, *, clock: Clock = time.time) -> None:
        setting = f"providers.{name}.service_account_file"
        self.name = name
        self.policy = settings
        self.timeout = settings.timeout
        self.concurrency = settings.concurrency
        self._settings = settings
        self._account = ServiceAccount(setting, settings.service_account_file, _SCOPE, clock)
        self._path = f"/v1/projects/{settings.project_id or self._account.project_id}/messages:send"
        self._api = HttpApi(name, settings, "https://fcm.googleapis.com")
        self._token = SharedToken(self._fetch_token, clock)

    async def send(self, message: Message) -> str:
        """Send a push notification.

        FCM has no idempotency keys. A duplicate replaces the first notification on the device.

        Raises:
            ProviderError: FCM did not accept it, it is too large, or the device token is not an FCM token.
        """
        if not isinstance(message, Push):
            raise ProviderError(Verdict.NEVER, "FCM sends only push notifications", reached_provider=False)
        if not _DEVICE_TOKEN.fullmatch(message.device_token):
            problem = "the device token is not in the format of FCM tokens"
            raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
        answer = await self._post(message)
        name = _name_in(answer)
        if name is not None:
            return name
        raise classify(answer, message.device_token, self._token.text)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._token.aclose()
        await self._api.aclose()

    async def _post(self, push: Push) -> Answer:
        """Post with the shared access token; if it is rejected, retry once with a new one."""
        content = _content(push, self._settings)
        token = await self._token.get()
        answer = await self._post_with(token, push, content)
        if answer.status != httpx.codes.UNAUTHORIZED or _error_in(answer).code == "THIRD_PARTY_AUTH_ERROR":
            return answer
        self._token.drop(token)
        return await self._post_with(await self._token.get(), push, content)

    async def _post_with(self, token: str, push: Push, content: bytes) -> Answer:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        headers |= push.trace_headers
        return await self._api.post(self._path, headers=headers, content=content)

    async def _fetch_token(self) -> Token:
        return await self._account.fetch_token(self._api, self.timeout)


def _content(push: Push, settings: FcmSettings) -> bytes:
    """Return the request's body.

    Raises:
        ProviderError: It is larger than FCM accepts.
    """
    texts = [push.title, push.body, *push.data, *push.data.values()]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    if size > MAX_PAYLOAD:
        problem = f"the message has {size} bytes; FCM accepts {MAX_PAYLOAD}"
        raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
    same = str(push.trigger_id)  # a message with the same tag replaces the previous one on the device
    message = {
        "token": push.device_token,
        "notification": {"title": push.title, "body": push.body},
        "data": dict(push.data),
        "android": {
            "priority": settings.priority.upper(),
            "ttl": f"{settings.ttl}s",
            "notification": {"tag": same},
        },
        "apns": {"headers": {"apns-collapse-id": same}},
    }
    return json.dumps({"message": message}, ensure_ascii=False).encode("utf-8", "replace")


def _name_in(answer: Answer) -> str | None:
    """Return the name that FCM gave the message, or None if FCM did not accept it.

    It is empty if the message was accepted, but the answer's body was truncated.
    """
    if answer.status != httpx.codes.OK:
        return None
    if not answer.complete:
        return ""
    name = answer.body.get("name") if isinstance(answer.body, dict) else None
    return name if isinstance(name, str) and _MESSAGE_NAME.fullmatch(name) else None


class _Violation(msgspec.Struct, frozen=True):
    field: str = ""


class _Detail(msgspec.Struct, frozen=True, rename="camel"):
    """A detail of an error: an `FcmError` has the code, a `BadRequest` has the fields."""

    error_code: str = ""
    field_violations: list[_Violation] = []


class _Error(msgspec.Struct, frozen=True):
    status: str = ""
    message: str = ""
    details: list[_Detail] = []

    @property
    def code(self) -> str:
        """FCM's error code, or the canonical code of Google APIs."""
        return next((detail.error_code for detail in self.details if detail.error_code), self.status)

    @property
    def fields(self) -> list[str]:
        """The invalid fields of the request."""
        return [violation.field for detail in self.details for violation in detail.field_violations]


class _Body(msgspec.Struct, frozen=True):
    error: _Error


def _error_in(answer: Answer) -> _Error:
    try:
        return msgspec.convert(answer.body, _Body).error
    except msgspec.ValidationError:
        return _Error()


def classify(answer: Answer, device_token: str, access_token: str) -> ProviderError:
    """Return the error for an answer that is not a success. Its text contains neither token."""
    error = _error_in(answer)
    text = _error_text(answer, error)
    text = scrub(text.replace(access_token, "[secret]") if access_token else text, device_token)
    pause = answer.retry_after
    if pause is None and answer.status == httpx.codes.TOO_MANY_REQUESTS:
        pause = QUOTA_PAUSE
    return ProviderError(_verdict(answer.status, error), text, retry_after=pause)


def _verdict(status: int, error: _Error) -> Verdict:
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if not error.code or status not in _BY_STATUS:
        return verdict_of_other(status)
    return _BY_STATUS[status]


def _error_text(answer: Answer, error: _Error) -> str:
    if not error.code:
        return f"FCM HTTP {answer.status}: no readable error"
    fields = f" ({', '.join(error.fields)})" if error.fields else ""
    return f"FCM HTTP {answer.status} {error.code}: {error.message}{fields}"
