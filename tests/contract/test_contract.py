"""The contract, row by row: the same case by REST, by gRPC through Envoy, and by gRPC to the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.api import httpbody_pb2
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from clarion.v1 import trigger_pb2 as pb
from clarion.v1 import trigger_pb2_grpc
from tests.contract.conftest import OTHERS_CAMPAIGN, PAUSED_CAMPAIGN, Keys
from tests.seed import EMAIL, PUSH, TEXT
from tests.stack import EXAMPLE

pytestmark = pytest.mark.xdist_group("contract")

USER: dict[str, Any] = dict(EXAMPLE["user"])
PATH = "/api/client/campaigns/{}/trigger"
HTTP_OF_CODE = {3: 422, 5: 404, 7: 403, 9: 422, 16: 401}

SEED_EXAMPLES = {44: EMAIL, 45: TEXT, 46: PUSH}


@dataclass
class Case:
    """A refused call: what is sent, and what must come back by every way."""

    name: str
    body: object = field(default_factory=lambda: EXAMPLE)
    campaign: object = 44
    key: str = "good"
    code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
    reason: str = "INVALID_REQUEST"
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def user(**changes: object) -> dict[str, object]:
    """Return the example with members of `user` changed; None takes one away."""
    members = {**USER, **changes}
    return {**EXAMPLE, "user": {name: one for name, one in members.items() if one is not None}}


REFUSED = [
    Case("an empty object", {}, fields=(("user", "REQUIRED"),)),
    Case("no external_id", user(external_id=None), fields=(("user.external_id", "REQUIRED"),)),
    Case("an empty external_id", user(external_id=""), fields=(("user.external_id", "REQUIRED"),)),
    Case("a long external_id", user(external_id="x" * 256), fields=(("user.external_id", "OUT_OF_RANGE"),)),
    Case(
        "a control character in external_id",
        user(external_id="a\nb"),
        fields=(("user.external_id", "INVALID_FORMAT"),),
    ),
    Case("no email", user(email=None), fields=(("user.email", "REQUIRED"),)),
    Case("an email without a domain", user(email="test@"), fields=(("user.email", "INVALID_FORMAT"),)),
    Case(
        "a line break in an email",
        user(email="a@b.com\r\nBcc: c@d.com"),
        fields=(("user.email", "INVALID_FORMAT"),),
    ),
    Case("an email that is a number", user(email=5), fields=(("user.email", "WRONG_TYPE"),)),
    Case("an email that is null", {"user": {**USER, "email": None}}, fields=(("user.email", "WRONG_TYPE"),)),
    Case("an unknown time zone", user(timezone="Mars/Base"), fields=(("user.timezone", "UNKNOWN_VALUE"),)),
    Case("a wrong locale", user(locale="e!"), fields=(("user.locale", "INVALID_FORMAT"),)),
    Case("an unknown member of user", user(nickname="x"), fields=(("user.nickname", "UNKNOWN_FIELD"),)),
    Case("an unknown member", {**EXAMPLE, "evnt": {}}, fields=(("evnt", "UNKNOWN_FIELD"),)),
    Case("an event that is an array", {**EXAMPLE, "event": [1]}, fields=(("event", "WRONG_TYPE"),)),
    Case("an event that is null", {**EXAMPLE, "event": None}, fields=(("event", "WRONG_TYPE"),)),
    Case("user data that is text", user(data="x"), fields=(("user.data", "WRONG_TYPE"),)),
    Case("a user that is an array", {"user": []}, fields=(("user", "WRONG_TYPE"),)),
    Case("a body that is an array", [], fields=(("", "WRONG_TYPE"),)),
    Case("a body that is a number", "5", fields=(("", "WRONG_TYPE"),)),
    Case("malformed JSON", '{"user": ', fields=(("", "MALFORMED_JSON"),)),
    Case("an empty body", b"", fields=(("", "MALFORMED_JSON"),)),
    Case("bad UTF-8", b'{"user": {"external_id": "\xff"}}', fields=(("", "MALFORMED_JSON"),)),
    Case("NaN", '{"user": {}, "event": {"a": NaN}}', fields=(("", "MALFORMED_JSON"),)),
    Case("a duplicate name", '{"user": {}, "user": {}}', fields=(("", "MALFORMED_JSON"),)),
    Case(
        "a duplicate name inside event",
        '{"user": {}, "event": {"a": 1, "a": 2}}',
        fields=(("", "MALFORMED_JSON"),),
    ),
    Case("an escaped NUL", '{"user": {"external_id": "\\u0000"}}', fields=(("", "MALFORMED_JSON"),)),
    Case("half a surrogate pair", '{"user": {"external_id": "\\ud800"}}', fields=(("", "MALFORMED_JSON"),)),
    Case("10,000 levels", '{"event": ' + "[" * 10_000 + "]" * 10_000 + "}", fields=(("", "MALFORMED_JSON"),)),
    Case("an infinite number", '{"user": {}, "event": {"a": 1e999}}', fields=(("", "MALFORMED_JSON"),)),
    Case(
        "several at once",
        {"user": {"external_id": 1, "email": "x", "timezone": "x", "nick": 1}, "x": 1},
        fields=(
            ("user.email", "INVALID_FORMAT"),
            ("user.external_id", "WRONG_TYPE"),
            ("user.nick", "UNKNOWN_FIELD"),
            ("user.timezone", "UNKNOWN_VALUE"),
            ("x", "UNKNOWN_FIELD"),
        ),
    ),
    Case(
        "a phone for an email campaign",
        {"user": {"external_id": "a", "phone": "+12345678900"}},
        fields=(("user.email", "CHANNEL_MISMATCH"),),
    ),
    Case("an email for a text campaign", campaign=45, fields=(("user.phone", "CHANNEL_MISMATCH"),)),
    Case("an email for a push campaign", campaign=46, fields=(("user.device_token", "CHANNEL_MISMATCH"),)),
    Case(
        "a phone that is not E.164",
        {"user": {"external_id": "a", "phone": "0123"}},
        campaign=45,
        fields=(("user.phone", "INVALID_FORMAT"),),
    ),
    Case(
        "a device token with a space",
        {"user": {"external_id": "a", "device_token": "a b"}},
        campaign=46,
        fields=(("user.device_token", "INVALID_FORMAT"),),
    ),
    Case("a campaign that is no number", campaign="abc", fields=(("campaign_id", "WRONG_TYPE"),)),
    Case("campaign 0", campaign=0, fields=(("campaign_id", "WRONG_TYPE"),)),
    Case("a campaign beyond 2^63", campaign=2**63, fields=(("campaign_id", "WRONG_TYPE"),)),
    Case(
        "a campaign that is no number and a bad body",
        {"user": {"email": "x"}},
        campaign="1.5",
        fields=(
            ("campaign_id", "WRONG_TYPE"),
            ("user.email", "INVALID_FORMAT"),
            ("user.external_id", "REQUIRED"),
        ),
    ),
    Case(
        "a paused campaign",
        campaign=PAUSED_CAMPAIGN,
        code=grpc.StatusCode.FAILED_PRECONDITION,
        reason="CAMPAIGN_PAUSED",
        fields=(("campaign_id", "CAMPAIGN_STATE"),),
    ),
    Case("an unknown campaign", campaign=999, code=grpc.StatusCode.NOT_FOUND, reason="CAMPAIGN_NOT_FOUND"),
    Case(
        "another project's campaign",
        campaign=OTHERS_CAMPAIGN,
        code=grpc.StatusCode.PERMISSION_DENIED,
        reason="CAMPAIGN_FORBIDDEN",
    ),
    Case(
        "another project's key",
        key="of_another_project",
        code=grpc.StatusCode.PERMISSION_DENIED,
        reason="CAMPAIGN_FORBIDDEN",
    ),
    Case(
        "a key held to another campaign",
        key="held_to_45",
        code=grpc.StatusCode.PERMISSION_DENIED,
        reason="CAMPAIGN_FORBIDDEN",
    ),
    Case(
        "a key without the scope",
        key="without_scope",
        code=grpc.StatusCode.PERMISSION_DENIED,
        reason="SCOPE_MISSING",
    ),
    *(
        Case(
            f"a key that is {kind}",
            body,
            key=kind,
            code=grpc.StatusCode.UNAUTHENTICATED,
            reason="CREDENTIALS_INVALID",
        )
        for kind in ("expired", "revoked", "unknown")
        for body in (EXAMPLE, "not json")
    ),
]


def ids(case: Case) -> str:
    return case.name.replace(" ", "-")


async def send(http: httpx.AsyncClient, case: Case, secret: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    return await http.post(PATH.format(case.campaign), content=case.content, headers=headers)


async def call(channel: grpc.aio.Channel, case: Case, secret: str) -> status_pb2.Status:
    """Make the REST call's own gRPC method fail; return its status with details."""
    stub = trigger_pb2_grpc.TriggerServiceStub(channel)
    body = httpbody_pb2.HttpBody(data=case.content, content_type="application/json")
    request = pb.TriggerCampaignRequest(campaign_id=str(case.campaign), body=body)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.TriggerCampaign(request, metadata=(("authorization", f"Bearer {secret}"),), timeout=20)
    return status_of(caught.value)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for name, value in error.trailing_metadata():
        if name == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return status_pb2.Status.FromString(value)
    raise AssertionError(f"no details in {error}")


def as_json(status: status_pb2.Status) -> dict[str, Any]:
    pool = error_details_pb2.DESCRIPTOR.pool  # knows the types of the details
    shown: dict[str, Any] = json_format.MessageToDict(
        status, preserving_proto_field_name=True, descriptor_pool=pool
    )
    return shown


def check(case: Case, shown: Mapping[str, Any]) -> None:
    assert shown["code"] == case.code.value[0]
    infos = [d for d in shown["details"] if d["@type"].endswith("ErrorInfo")]
    assert [(info["reason"], info["domain"]) for info in infos] == [(case.reason, "clarion")]
    bad = [d for d in shown["details"] if d["@type"].endswith("BadRequest")]
    assert len(bad) == bool(case.fields)
    found = [(v.get("field", ""), v["reason"]) for one in bad for v in one["field_violations"]]
    assert sorted(found) == sorted(case.fields)
    assert all(v["description"] for one in bad for v in one["field_violations"])


@pytest.mark.parametrize("case", REFUSED, ids=ids)
async def test_a_refusal_is_the_same_by_rest_and_by_grpc(
    case: Case, http: httpx.AsyncClient, channels: dict[str, grpc.aio.Channel], secrets: Keys
) -> None:
    secret = getattr(secrets, case.key)
    answer = await send(http, case, secret)
    assert answer.status_code == HTTP_OF_CODE[case.code.value[0]]
    assert answer.headers["content-type"] == "application/json"
    check(case, answer.json())
    for channel in channels.values():
        assert as_json(await call(channel, case, secret)) == answer.json()


TYPED: dict[str, tuple[Any, Any, int]] = {
    "email": (pb.TriggerEmailRequest, pb.EmailUser, 44),
    "phone": (pb.TriggerTextRequest, pb.TextUser, 45),
    "device_token": (pb.TriggerPushRequest, pb.PushUser, 46),
}


def typed_twin(case: Case) -> Any:
    """Return the typed request that says the same as the case's body, if one can."""
    body = case.body
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("user"), dict)
        or not isinstance(case.campaign, int)
    ):
        return None
    members = body["user"]
    known = {"external_id", "timezone", "locale", *TYPED}
    addresses = [name for name in TYPED if name in members]
    plain = all(type(one) is str for one in members.values()) and set(members) <= known
    event = body.get("event", {})
    if not plain or set(body) > {"user", "event"} or not isinstance(event, dict) or case.campaign > 2**62:
        return None
    wanted = addresses[0] if addresses else next(n for n, (_, _, c) in TYPED.items() if c == case.campaign)
    request, recipient, _ = TYPED[wanted]
    return request(campaign_id=case.campaign, user=recipient(**members), event=json.dumps(event))


WITH_TWIN = [case for case in REFUSED if typed_twin(case) is not None and case.campaign != 0]


@pytest.mark.parametrize("case", WITH_TWIN, ids=ids)
@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_a_typed_call_is_refused_like_its_rest_twin(
    case: Case, way: str, http: httpx.AsyncClient, channels: dict[str, grpc.aio.Channel], secrets: Keys
) -> None:
    secret = getattr(secrets, case.key)
    request = typed_twin(case)
    stub = trigger_pb2_grpc.TriggerServiceStub(channels[way])
    method = getattr(stub, type(request).__name__.removesuffix("Request"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await method(request, metadata=(("authorization", f"Bearer {secret}"),), timeout=20)
    assert as_json(status_of(caught.value)) == (await send(http, case, secret)).json()


@pytest.mark.parametrize("campaign", [44, 45, 46])
@pytest.mark.parametrize("version", [1, 2])
async def test_the_documented_examples_get_204_exactly_as_printed(
    campaign: int, version: int, http: httpx.AsyncClient, http2: httpx.AsyncClient, secrets: Keys
) -> None:
    answer = await send(
        http if version == 1 else http2, Case("seed", SEED_EXAMPLES[campaign], campaign), secrets.good
    )
    assert answer.status_code == 204
    assert answer.content == b""
    assert len(answer.headers["x-trigger-id"]) == 36
    assert "content-type" not in answer.headers
    assert not [name for name in answer.headers if name.startswith(("grpc", "x-envoy"))]


@pytest.mark.parametrize("field_name", TYPED)
@pytest.mark.parametrize("way", ["gateway", "server"])
async def test_a_good_typed_call_answers_with_the_trigger_id(
    field_name: str, way: str, channels: dict[str, grpc.aio.Channel], secrets: Keys
) -> None:
    request, recipient, campaign = TYPED[field_name]
    address = {"email": "test@test.com", "phone": "+12345678900", "device_token": "TOKEN"}[field_name]
    message = request(campaign_id=campaign, user=recipient(external_id="x", **{field_name: address}))
    stub = trigger_pb2_grpc.TriggerServiceStub(channels[way])
    method = getattr(stub, request.__name__.removesuffix("Request"))
    answer = await method(message, metadata=(("authorization", f"bearer {secrets.good}"),), timeout=20)
    assert len(answer.trigger_id) == 36
