"""People who are not signed in: their requests, the sign-in page, and how their session starts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clarion.admin.v1 import operator_pb2 as pb

from ..api import Caller
from ..errors import ApiError
from ..forms import KEPT, Form, kept_fields
from ..portal import Portal
from ..session import csrf_token

__all__ = ["MAX_AGENT", "OpenPage", "OpenVisit", "end_session", "session_response", "show_sign_in"]

_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f]*")
_MAX_NEXT = 2000
MAX_AGENT = 300


@dataclass(frozen=True, slots=True)
class OpenVisit:
    """A request to an open page, by a person who may not be signed in.

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


OpenPage: TypeAlias = tuple[str, Callable[[OpenVisit], Awaitable[Response]]]
"""The path of a page that needs no session, and what serves it."""


async def session_response(visit: OpenVisit, token: str) -> Response:
    """Return the response that sets the cookie of a new session and leads to the page that was requested.

    The person's previous session is ended: a new session never continues another.
    """
    portal, request = visit.portal, visit.request
    await end_session(portal, visit.caller)
    target = portal.base + _local(visit.form["next"])
    kept = visit.form.text(KEPT)
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


async def end_session(portal: Portal, caller: Caller) -> None:
    """End the caller's session, if there is one."""
    if not caller.secret:
        return
    try:
        who: pb.GetCallerResponse = await portal.api.call(pb.GetCallerRequest(), caller)
        await portal.api.call(pb.RevokeSessionRequest(session_id=who.session_id), caller)
    except ApiError as error:
        if not error.is_signed_out:
            raise


async def show_sign_in(portal: Portal, caller: Caller, form: Form, *, kept: str = "") -> Response:
    """Return the sign-in page.

    Args:
        portal: The portal.
        caller: The caller of the API.
        form: The form; with what was typed before the session ended, if there is any.
        kept: The ID under which that is kept already.
    """
    provider, problem = await portal.oidc.provider(caller)
    # Only of sessions that have worked: strangers must not displace what others have typed.
    is_known = caller.secret in portal.recent_tokens
    if not kept and provider.issuer and is_known:
        kept = portal.kept_forms.put(form.text(KEPT), caller.secret)
    query = {name: text for name, text in (("next", form["next"]), (KEPT, kept)) if text}
    text = portal.render(
        "sign_in.html",
        **_outside("Sign in"),
        form=form,
        provider=urlsplit(provider.issuer).netloc,
        provider_problem=problem,
        oidc_url=f"{portal.base}/sign-in/oidc?{urlencode(query)}".rstrip("?"),
    )
    return Response(text, int(form.status), media_type="text/html; charset=utf-8")


def _outside(title: str) -> dict[str, Any]:
    """Return the values that the layout needs on a page without a session."""
    return {"visit": None, "title": title, "crumbs": [], "notice": ""}


def _local(path: str) -> str:
    """Return a path within the portal; the overview for anything else."""
    return path if len(path) <= _MAX_NEXT and _LOCAL.fullmatch(path) else "/"
