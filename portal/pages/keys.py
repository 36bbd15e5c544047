"""API keys: list, create, change, rotate, revoke."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

from google.protobuf.duration_pb2 import Duration
from starlette.responses import Response

from clarion.admin.v1 import api_key_pb2 as pb

from ..curl import trigger_call
from ..errors import ApiError
from ..examples import active_campaigns, example_body
from ..forms import Form
from ..limits import limit_texts, read_limit
from ..numbers import whole_number
from ..visit import Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Keys", "/keys")
_PAGE = 50
_MAX_CAMPAIGN_ID = 2**63 - 1
_SCOPES = (
    ("trigger", "Trigger campaigns, and cancel triggers"),
    ("deliveries.read", "Read deliveries"),
    ("campaigns.read", "Read campaigns"),
    ("keys.manage", "List and revoke the project's keys"),
)
_KINDS = (("live", "Live: messages are sent"), ("test", "Test: nothing is sent"))
_USABLE, _ALL = "usable", "all"
_STATES = (_USABLE, "active", "expiring", "expired", "revoked", _ALL)
_OVERLAPS = (
    ("0", "None: it ends at once"),
    ("1", "1 hour"),
    ("24", "1 day"),
    ("168", "7 days"),
    ("720", "30 days"),
)
_NOT_A_CAMPAIGN = "Enter campaign IDs, such as 44, separated by commas."
_NOT_A_DATE = "Enter a day, such as 2027-06-30."


async def list_keys(visit: Visit) -> Response:
    """List keys, the newest first."""
    # Keys of test triggers are revoked at once, and would hide the others.
    state, kind = visit.query("key_state") or _USABLE, visit.query("kind")
    request = pb.ListApiKeysRequest(
        project=visit.project,
        key_state=state if state in _STATES and state != _ALL else "",
        kind=kind if kind in dict(_KINDS) else "",
        page_size=_PAGE,
        page_token=visit.query("page"),
    )
    found: pb.ListApiKeysResponse = await visit.call(request)
    return visit.page(
        "keys.html",
        "Keys",
        found=found,
        states=_STATES,
        kinds=[("", "all"), *((one, one) for one, _ in _KINDS)],
        can_create=visit.can(pb.CreateApiKeyRequest, visit.project),
    )


async def new_key(visit: Visit) -> Response:
    """Create a key and show its secret once, in the answer to the form."""
    visit.require(pb.CreateApiKeyRequest)
    form = visit.form
    if form.is_sent:
        with form.checked():
            request = _request(form)
            if not form.errors:
                made: pb.CreateApiKeyResponse = await visit.call(request)
                return await _secret(visit, "New key", made.api_key, made.secret)
    form.start(project=visit.project or (visit.projects[0] if visit.projects else ""), scopes=["trigger"])
    return visit.page("key_new.html", "New key", crumbs=[SECTION], scopes=_SCOPES, kinds=_KINDS)


async def key(visit: Visit) -> Response:
    """Show a key."""
    found: pb.ApiKey = (await visit.call(pb.GetApiKeyRequest(key_id=visit.path("key_id")))).api_key
    works = found.key_state in ("active", "expiring")
    can_change = visit.can(pb.RevokeApiKeyRequest, found.project) and works
    title = _section(found).title
    return visit.page("key.html", title, crumbs=[SECTION], key=found, can_change=can_change)


async def edit(visit: Visit) -> Response:
    """Change the name, the expiry and the limits of a key."""
    form = visit.form
    current: pb.ApiKey = (await visit.call(pb.GetApiKeyRequest(key_id=visit.path("key_id")))).api_key
    if form.is_sent:
        request = _update(form, current)
        if not form.errors:
            with form.checked():
                changed: pb.ApiKey = (await visit.call(request)).api_key
                return visit.redirect(f"/keys/{changed.key_id}", "The changes take effect within a second.")
    form.start(
        display_name=current.display_name,
        expire_time=_last_day(current),
        certificates=", ".join(current.certificates),
        **limit_texts(current),
    )
    title = f"Edit {current.display_name}"
    return visit.page("key_edit.html", title, crumbs=[SECTION, _section(current)], key=current)


async def rotate(visit: Visit) -> Response:
    """Create the successor of a key and show its secret once, in the answer to the form."""
    form, key_id = visit.form, visit.path("key_id")
    if form.is_sent:
        if form["overlap"] not in dict(_OVERLAPS):
            form.fail("overlap", "Choose one of these.")
        else:
            with form.checked():
                overlap = Duration(seconds=int(form["overlap"]) * 3600)
                made: pb.RotateApiKeyResponse = await visit.call(
                    pb.RotateApiKeyRequest(key_id=key_id, overlap=overlap)
                )
                return await _secret(
                    visit, "Key rotated", made.api_key, made.secret, previous=made.previous_key
                )
    found: pb.ApiKey = (await visit.call(pb.GetApiKeyRequest(key_id=key_id))).api_key
    form.start(overlap="24")
    title = f"Rotate {found.display_name}"
    crumbs = [SECTION, _section(found)]
    return visit.page("key_rotate.html", title, crumbs=crumbs, key=found, overlaps=_OVERLAPS)


async def revoke(visit: Visit) -> Response:
    """Revoke a key."""
    key_id = visit.path("key_id")
    found: pb.ApiKey = (await visit.call(pb.GetApiKeyRequest(key_id=key_id))).api_key
    if visit.form.is_sent:
        with visit.form.checked():
            await visit.call(pb.RevokeApiKeyRequest(key_id=key_id))
            return visit.redirect("/keys", f"The key {found.display_name} was revoked.")
    text = (
        f"Every server rejects {found.display_name} ({found.secret_hint or found.key_id}) within a second. "
        "Triggers that were accepted with it are still sent. This cannot be undone."
    )
    return visit.confirm("Revoke key", text, "Revoke this key", crumbs=[SECTION, _section(found)])


PAGES = (
    Page("/keys", list_keys),
    Page("/keys/new", new_key, has_form=True),
    Page("/keys/{key_id}", key),
    Page("/keys/{key_id}/edit", edit, has_form=True),
    Page("/keys/{key_id}/rotate", rotate, has_form=True),
    Page("/keys/{key_id}/revoke", revoke, has_form=True),
)


def _section(found: pb.ApiKey) -> Section:
    """Return the breadcrumb that leads back to a key's page."""
    return Section(f"Key {found.display_name}", f"/keys/{found.key_id}")


async def _secret(
    visit: Visit, title: str, made: pb.ApiKey, secret: str, previous: pb.ApiKey | None = None
) -> Response:
    curl = campaign_id = ""
    if "trigger" in made.scopes:
        campaigns = {}
        with suppress(ApiError):  # the secret is shown in any case, because it cannot be shown later
            campaigns = {one.campaign_id: one for one in await active_campaigns(visit, made.project)}
        wanted = list(made.campaign_ids) or list(campaigns)
        first = next((number for number in wanted if number in campaigns), wanted[0] if wanted else 0)
        campaign_id = str(first or "")
        body = example_body(campaigns.get(first))
        curl = f"export CLARION_API_KEY={secret}\n{trigger_call(visit.origin, campaign_id, body)}"
    return visit.page(
        "key_secret.html",
        title,
        crumbs=[SECTION],
        key=made,
        secret=secret,
        previous=previous,
        curl=curl,
        campaign_id=campaign_id,
    )


def _request(form: Form) -> pb.CreateApiKeyRequest:
    """Return the request that the form states; mark the fields that cannot be parsed as invalid."""
    request = pb.CreateApiKeyRequest(
        project=form["project"],
        display_name=form["display_name"],
        kind=form["kind"],
        scopes=form.all("scopes"),
        certificates=_certificates(form),
    )
    for text in filter(None, (one.strip() for one in form["campaign_ids"].split(","))):
        number = whole_number(text, _MAX_CAMPAIGN_ID)
        if number is None:
            form.fail("campaign_ids", _NOT_A_CAMPAIGN)
            break
        request.campaign_ids.append(number)
    _read_expiry(form, request)
    read_limit(form, request)
    return request


def _update(form: Form, current: pb.ApiKey) -> pb.UpdateApiKeyRequest:
    """Return the request that the form states; mark the fields that cannot be parsed as invalid."""
    request = pb.UpdateApiKeyRequest(
        key_id=current.key_id, display_name=form["display_name"], etag=form["etag"]
    )
    request.update_mask.paths.extend(("display_name", "requests_per_second", "burst"))
    if sorted(certificates := _certificates(form)) != sorted(current.certificates):
        request.update_mask.paths.append("certificates")
        request.certificates.extend(certificates)
    if form["expire_time"] != _last_day(current):  # otherwise, the time of the day would be lost
        request.update_mask.paths.append("expire_time")
        _read_expiry(form, request)
    read_limit(form, request)
    return request


def _certificates(form: Form) -> list[str]:
    return list(filter(None, (one.strip() for one in form["certificates"].split(","))))


def _read_expiry(form: Form, request: pb.CreateApiKeyRequest | pb.UpdateApiKeyRequest) -> None:
    """Copy the last day to a request; note in the form if it is not a day."""
    if not form["expire_time"]:
        return
    try:
        day = dt.date.fromisoformat(form["expire_time"])
        request.expire_time.FromDatetime(dt.datetime.combine(day, dt.time(23, 59, 59), dt.UTC))
    except ValueError:
        form.fail("expire_time", _NOT_A_DATE)


def _last_day(key: pb.ApiKey) -> str:
    return key.expire_time.ToDatetime(dt.UTC).date().isoformat() if key.HasField("expire_time") else ""
