"""Signing in with an admin key, and signing out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clarion.admin.v1 import operator_pb2 as pb

from ..api import Caller
from ..errors import ApiError, NotFromThePortal
from ..forms import CSRF, KEPT, Form, kept_fields
from ..live import LIVE, signed_out
from ..portal import Portal
from ..session import csrf_token, is_csrf_token

__all__ = ["OPEN_PAGES", "Stranger", "started", "to_sign_in"]

_SECRET = re.compile(r"ak_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f]*")
_MAX_NEXT, _MAX_AGENT = 2000, 300
_WRONG = "This admin key does not work. It may be mistyped, revoked or expired."


@dataclass(frozen=True, slots=True)
class Stranger:
    """A request by a person who need not be signed in.

    Attributes:
        portal: The portal.
        request: The request.
        form: What was sent.
        caller: The caller of the API; without a session, its secret is empty.
    """

    portal: Portal
    request: Request
    form: Form
    caller: Caller


def to_sign_in(portal: Portal, request: Request, form: Form) -> Response:
    """Return the way to the sign-in page, which leads back here. What was typed is kept."""
    here = request.url.path.removeprefix(portal.base)
    if here.startswith(LIVE):
        return signed_out()
    query = f"?{request.url.query}" if request.url.query else ""
    if request.method == "POST":
        kept = Form(None, {"next": here + query, KEPT: form.kept()})
        kept.fail("", "Your session has ended. Sign in again; what you typed is kept.")
        kept.status = HTTPStatus.UNAUTHORIZED
        return _show(portal, kept)
    target = urlencode({"next": here + query}) if here != "/" else ""
    return RedirectResponse(f"{portal.base}/sign-in?{target}".rstrip("?"), HTTPStatus.SEE_OTHER)


async def sign_in(stranger: Stranger) -> Response:
    """Show the form, or start a session with an admin key."""
    form, portal = stranger.form, stranger.portal
    if not form.is_sent:
        return _show(portal, form.start(next=stranger.request.query_params.get("next", "")))
    portal.throttle.check(stranger.caller.address)
    secret = form["key"]
    if not _SECRET.fullmatch(secret):
        portal.throttle.failed(stranger.caller.address)
        form.fail("key", "An admin key begins with ak_ and has 39 characters.")
        return _show(portal, form)
    agent = stranger.request.headers.get("user-agent", "")[:_MAX_AGENT]
    try:
        with form.checked():
            made: pb.CreateSessionResponse = await portal.api.call(
                pb.CreateSessionRequest(user_agent=agent), replace(stranger.caller, secret=secret)
            )
            return await started(stranger, made.token)
    except ApiError as error:
        if not error.is_signed_out:
            raise
        portal.throttle.failed(stranger.caller.address)
        form.fail("key", _WRONG)
    return _show(portal, form)


async def started(stranger: Stranger, token: str) -> Response:
    """Return the answer that sets the cookie of a new session and leads to where the person wanted to go.

    Any session before is ended: a new session never continues another.
    """
    portal, request = stranger.portal, stranger.request
    await _end(portal, stranger.caller)
    target = portal.base + _local(stranger.form["next"])
    kept = stranger.form.text(KEPT)
    response: Response
    if kept:
        text = portal.render(
            "resume.html",
            **_outside("Signed in again"),
            target=target,
            fields=kept_fields(kept),
            csrf=csrf_token(token),
        )
        response = Response(text, media_type="text/html; charset=utf-8")
    else:
        response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    portal.cookies.sign_in(request, response, token)
    portal.recent_tokens.add(token)
    return response


async def sign_out(stranger: Stranger) -> Response:
    """End the session."""
    portal, request, token = stranger.portal, stranger.request, stranger.caller.secret
    response = RedirectResponse(f"{portal.base}/sign-in", HTTPStatus.SEE_OTHER)
    if not stranger.form.is_sent or not token:
        return response
    if not is_csrf_token(stranger.form[CSRF], token):
        raise NotFromThePortal
    await _end(portal, stranger.caller)
    portal.cookies.sign_out(request, response)
    return response


OPEN_PAGES: tuple[tuple[str, Callable[[Stranger], Awaitable[Response]]], ...] = (
    ("/sign-in", sign_in),
    ("/sign-out", sign_out),
)
"""The pages that need no session."""


async def _end(portal: Portal, caller: Caller) -> None:
    """End the caller's session, if it has one that has not ended."""
    if not caller.secret:
        return
    try:
        who: pb.GetCallerResponse = await portal.api.call(pb.GetCallerRequest(), caller)
        await portal.api.call(pb.RevokeSessionRequest(session_id=who.session_id), caller)
    except ApiError as error:
        if not error.is_signed_out:
            raise


def _show(portal: Portal, form: Form) -> Response:
    text = portal.render("sign_in.html", **_outside("Sign in"), form=form)
    return Response(text, int(form.status), media_type="text/html; charset=utf-8")


def _outside(title: str) -> dict[str, Any]:
    """Return what the layout needs outside a session."""
    return {"visit": None, "title": title, "crumbs": [], "notice": ""}


def _local(path: str) -> str:
    """Return a path within the portal; the overview for anything else."""
    return path if len(path) <= _MAX_NEXT and _LOCAL.fullmatch(path) else "/"
