"""Apple Push Notification service: push to Apple devices, over HTTP/2.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey

from ...channels.base import Message
from ...channels.push import Push
from ...domain.campaign import Channel
from ...domain.delivery_errors import ProviderError, Verdict
from ...errors import ConfigError
from ..redact import scrub
from .http import Answer, ApiSettings, verdict_of_other
from .http2 import Http2Api
from .tokens import Clock, load_key, read_file

__all__ = ["HOSTS", "ApnsProvider", "ApnsSettings", "classify"]

HOSTS = {
    "production": "https://api.push.apple.com",
    "sandbox": "https://api.sandbox.push.apple.com",
}
MAX_PAYLOAD = 4096
"""Maximum payload that APNs accepts, in bytes."""
MAX_TTL = 2_419_200
"""28 days, in seconds."""
RENEW_AFTER = 50 * 60.0
"""Seconds after which a token is replaced; APNs rejects it after an hour."""
RENEW_AT_MOST_EVERY = 20 * 60.0
"""Minimum seconds between two tokens, as APNs requires."""

_DEVICE_TOKEN = re.compile(r"[0-9A-Fa-f]{8,200}")
_REASON = re.compile(r"[A-Za-z0-9]{1,64}")

# https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
_BY_REASON = {
    "ExpiredToken": Verdict.RECIPIENT_REFUSED,
    "Unregistered": Verdict.RECIPIENT_REFUSED,
    # Also the answers if our `environment` or `topic` is wrong.
    "BadDeviceToken": Verdict.NEVER,
    "DeviceTokenNotForTopic": Verdict.NEVER,
    "MissingDeviceToken": Verdict.NEVER,
    "BadCollapseId": Verdict.NEVER,
    "BadMessageId": Verdict.NEVER,
    "PayloadEmpty": Verdict.NEVER,
    "PayloadTooLarge": Verdict.NEVER,
}
# Reasons that blame our settings or the connection, although their status alone would blame the message.
_BY_STATUS_AND_REASON = {
    (400, "BadExpirationDate"): Verdict.PROVIDER_DOWN,
    (400, "BadPriority"): Verdict.PROVIDER_DOWN,
    (400, "BadTopic"): Verdict.PROVIDER_DOWN,
    (400, "DuplicateHeaders"): Verdict.PROVIDER_DOWN,
    (400, "IdleTimeout"): Verdict.PROVIDER_DOWN,
    (400, "InvalidPushType"): Verdict.PROVIDER_DOWN,
    (400, "MissingTopic"): Verdict.PROVIDER_DOWN,
    (400, "TopicDisallowed"): Verdict.PROVIDER_DOWN,
    (400, ""): Verdict.PROVIDER_DOWN,  # no readable reason, so the answer is not from APNs
    (410, ""): Verdict.PROVIDER_DOWN,
    (429, "TooManyProviderTokenUpdates"): Verdict.PROVIDER_DOWN,
}
# Any other status: PROVIDER_DOWN. A refused key can be corrected, so no message is given up for it.
_BY_STATUS = {
    400: Verdict.NEVER,  # bad request
    410: Verdict.RECIPIENT_REFUSED,  # the device token is no longer active
    413: Verdict.NEVER,  # payload too large
    429: Verdict.LATER,  # too many notifications to this device
}

AppleId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{10}\Z")]


class ApnsSettings(ApiSettings, frozen=True, kw_only=True):
    """Settings of APNs. Times in seconds."""

    key_file: Annotated[str, msgspec.Meta(min_length=1)]
    """The .p8 file of the signing key."""
    key_id: AppleId
    team_id: AppleId
    topic: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,255}\Z")]
    """The app's bundle ID."""
    environment: Literal["production", "sandbox"] = "production"
    """`sandbox` is for builds that Xcode installs on a device."""
    ttl: Annotated[int, msgspec.Meta(ge=0, le=MAX_TTL)] = MAX_TTL
    """How long APNs keeps a notification for an offline device, in seconds; 0: APNs tries only once."""
    in_doubt: Literal["repeat", "hold", "give_up"] = "repeat"
    """A repeated notification replaces the first one on the device."""

    def repr_fields(self) -> list[tuple[str, Any]]:
        """Leave out `key_file`, which may contain the key itself by mistake."""
        return [("url", self.url), ("topic", self.topic), ("environment", self.environment)]


class ApnsProvider:
    """Sends push notifications through APNs."""

    channels = frozenset({Channel.PUSH})

    def __init__(
        self, name: str, settings: ApnsSettings, data_dir: Path, *, clock: Clock = time.time
    ) -> None:
        self.name = name
        self.policy = settings
        self.timeout = settings.timeout
        self.concurrency = settings.concurrency
        self._settings = settings
        self._clock = clock
        self._token = _ProviderToken(name, settings, clock)
        self._api = Http2Api(name, settings, HOSTS[settings.environment])

    async def send(self, message: Message) -> str:
        """Send a push notification.

        Its collapse ID is the trigger's ID, so a duplicate replaces the first notification on the device.

        Raises:
            ProviderError: APNs did not accept it, it is too large, or the device token is not an APNs token.
        """
        if not isinstance(message, Push):
            raise ProviderError(Verdict.NEVER, "APNs sends only push notifications", reached_provider=False)
        if not _DEVICE_TOKEN.fullmatch(message.device_token):
            problem = "the device token is not in the format of APNs tokens"
            raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
        answer = await self._post(message)
        if answer.status == httpx.codes.OK:
            return str(answer.headers.get("apns-id", message.trigger_id))
        raise classify(answer, message.device_token)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()

    async def _post(self, push: Push) -> Answer:
        """Post; if the provider token has expired and can be renewed, retry once with a new one."""
        content = _content(push)
        token = self._token.get()
        answer = await self._post_with(token, push, content)
        if _reason_in(answer) != "ExpiredProviderToken" or not self._token.renew(token):
            return answer
        return await self._post_with(self._token.get(), push, content)

    async def _post_with(self, token: str, push: Push, content: bytes) -> Answer:
        headers = self._headers(push) | {"authorization": f"bearer {token}", **push.trace_headers}
        return await self._api.post(f"/3/device/{push.device_token}", headers=headers, content=content)

    def _headers(self, push: Push) -> dict[str, str]:
        ttl = self._settings.ttl
        return {
            "apns-id": str(push.trigger_id),
            "apns-collapse-id": str(push.trigger_id),
            "apns-topic": self._settings.topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(int(self._clock()) + ttl) if ttl else "0",
            "content-type": "application/json",
        }


class _ProviderToken:
    """The JWT that authenticates all requests, signed here and renewed before it expires."""

    def __init__(self, name: str, settings: ApnsSettings, clock: Clock) -> None:
        setting = f"providers.{name}.key_file"
        key = load_key(setting, read_file(setting, settings.key_file))
        if not (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
            raise ConfigError(f"{setting}: is not a P-256 key; use the .p8 file from Apple")
        self._key = key
        self._key_id = settings.key_id
        self._team_id = settings.team_id
        self._clock = clock
        self._issue()

    def get(self) -> str:
        if not 0 <= self._clock() - self._issued_at < RENEW_AFTER:  # below 0: the clock was set back
            self._issue()
        return self._text

    def renew(self, text: str) -> bool:
        """Replace a token that APNs reports as expired, but not more often than APNs allows.

        Returns:
            Whether there is a newer token.
        """
        if text == self._text and self._clock() - self._issued_at >= RENEW_AT_MOST_EVERY:
            self._issue()
        return text != self._text

    def _issue(self) -> None:
        self._issued_at = self._clock()
        claims = {"iss": self._team_id, "iat": int(self._issued_at)}
        self._text = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})


def _content(push: Push) -> bytes:
    """Return the payload.

    Raises:
        ProviderError: It is larger than APNs accepts.
    """
    aps = {"alert": {"title": push.title, "body": push.body}, "sound": "default"}
    payload = {**push.data, "aps": aps}  # in this order, so that data never replaces `aps`
    content = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(content) > MAX_PAYLOAD:
        problem = f"the message has {len(content)} bytes; APNs accepts {MAX_PAYLOAD}"
        raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
    return content


def classify(answer: Answer, device_token: str) -> ProviderError:
    """Return the error for an answer that is not a success."""
    reason = _reason_in(answer)
    details = f"{reason or 'no readable reason'}{_since(answer)}"
    text = scrub(f"APNs HTTP {answer.status}: {details}", device_token)
    return ProviderError(_verdict(answer.status, reason), text, retry_after=answer.retry_after)


def _verdict(status: int, reason: str) -> Verdict:
    return (
        _BY_REASON.get(reason)
        or _BY_STATUS_AND_REASON.get((status, reason))
        or _BY_STATUS.get(status)
        or verdict_of_other(status)
    )


def _reason_in(answer: Answer) -> str:
    reason = answer.body.get("reason") if isinstance(answer.body, dict) else None
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else ""


def _since(answer: Answer) -> str:
    """Return ` since TIME` for a 410: the time at which the device token became invalid."""
    moment = answer.body.get("timestamp") if isinstance(answer.body, dict) else None
    if not isinstance(moment, int):
        return ""
    try:
        return f" since {dt.datetime.fromtimestamp(moment / 1000, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return ""
