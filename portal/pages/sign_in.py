"""Signing in with an admin key, and signing out."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clarion.admin.v1 import operator_pb2 as pb

from ..api import Caller
from ..errors import ApiError, NotFromThePortal
from ..forms import CSRF, KEPT, Form
from ..live import LIVE, signed_out
from ..portal import Portal
from ..session import is_csrf_token
from . import oidc
from .open_visit import MAX_AGENT, OpenPage, OpenVisit, end_session, session_response, show_sign_in

__all__ = ["OPEN_PAGES", "OpenVisit", "to_sign_in"]

_SECRET = re.compile(r"ak_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WRONG = "This admin key does not work: it may be mistyped, revoked or expired. Check it, or use another."


async def to_sign_in(portal: Portal, caller: Caller, request: Request, form: Form) -> Response:
    """Return the way to the sign-in page, which leads back here. What was typed is kept."""
    here = request.url.path.removeprefix(portal.base)
    if here.startswith(LIVE):
        return signed_out()
    query = f"?{request.url.query}" if request.url.query else ""
    if request.method == "POST":
        kept = Form(None, {"next": here + query, KEPT: form.kept()})
        kept.fail("", "Your session has ended. Sign in again; what you typed is kept.")
        kept.status = HTTPStatus.UNAUTHORIZED
        ended = replace(caller, secret=portal.cookies.token(request) or "")
        return await show_sign_in(portal, ended, kept)
    target = urlencode({"next": here + query}) if here != "/" else ""
    return RedirectResponse(f"{portal.base}/sign-in?{target}".rstrip("?"), HTTPStatus.SEE_OTHER)


async def sign_in(visit: OpenVisit) -> Response:
    """Show the form, or start a session with an admin key."""
    form, portal = visit.form, visit.portal
    if not form.is_sent:
        return await show_sign_in(
            portal, visit.caller, form.start(next=visit.request.query_params.get("next", ""))
        )
    secret = form["key"]
    if not _SECRET.fullmatch(secret):
        form.fail("key", "Enter the whole admin key: it begins with ak_ and has 39 characters.")
        return await show_sign_in(portal, visit.caller, form)
    agent = visit.request.headers.get("user-agent", "")[:MAX_AGENT]
    try:
        with form.checked():
            made: pb.CreateSessionResponse = await portal.api.call(
                pb.CreateSessionRequest(user_agent=agent), replace(visit.caller, secret=secret)
            )
            return await session_response(visit, made.token)
    except ApiError as error:
        if not error.is_signed_out:
            raise
        # Only now, because others may have the same address, behind a proxy or a NAT.
        portal.wrong_keys.check(visit.caller.address)
        portal.wrong_keys.failed(visit.caller.address)
        form.fail("key", _WRONG)
    return await show_sign_in(portal, visit.caller, form)


async def sign_out(visit: OpenVisit) -> Response:
    """End the session."""
    portal, request, token = visit.portal, visit.request, visit.caller.secret
    response = RedirectResponse(f"{portal.base}/sign-in", HTTPStatus.SEE_OTHER)
    if not visit.form.is_sent or not token:
        return response
    if not is_csrf_token(visit.form[CSRF], token):
        raise NotFromThePortal
    await end_session(portal, visit.caller)
    portal.cookies.sign_out(request, response)
    return response


OPEN_PAGES: tuple[OpenPage, ...] = (
    ("/sign-in", sign_in),
    ("/sign-out", sign_out),
    *oidc.OPEN_PAGES,
)
"""The pages that need no session."""
