"""The application: routes, and what happens before and after each page."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from clarion.admin.v1 import operator_pb2

from .api import CALLER, REQUEST_ID, Caller, Credentials
from .errors import ApiError, NotFromThePortal, PageNotFound, PortalError, SignedOut
from .forms import CSRF, Form, read_form
from .observed import name_page
from .pages import FRAMES, NAVIGATION, PAGES, sign_in
from .portal import Portal
from .security import Protected, require_same_origin
from .session import is_csrf_token
from .settings import PortalSettings
from .visit import Page, Visit

__all__ = ["create_app"]

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/+=@-]{0,127}")
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(settings: PortalSettings, credentials: Credentials | None = None) -> ASGIApp:
    """Return the portal as an ASGI application; `credentials` are its certificate for servers."""
    portal = Portal(settings, NAVIGATION, credentials)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await portal.api.close()

    routes = [
        Route("/static/{hash}/{name}", portal.static.serve),
        *(
            Route(path, _open(portal, path, serve), methods=["GET", "POST"])
            for path, serve in sign_in.OPEN_PAGES
        ),
        *(Route(page.path, _guarded(portal, page), methods=page.methods) for page in (*FRAMES, *PAGES)),
    ]
    top: list[BaseRoute] = [
        Route(portal.base, _to_overview(portal)),
        Mount(portal.base, Router(routes, redirect_slashes=False)),
    ]
    handlers: Mapping[Any, Any] = {
        PortalError: _problem_handler(portal),
        HTTPException: _problem_handler(portal),
        Exception: _problem_handler(portal),
    }
    app = Starlette(routes=top, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False  # Starlette would redirect to http:// behind TLS
    return Protected(app)  # outermost, so that it also protects pages of errors


def _to_overview(portal: Portal) -> Endpoint:
    async def redirect(_: Request) -> Response:
        return RedirectResponse(f"{portal.base}/")

    return redirect


def _open(portal: Portal, path: str, serve: Callable[[sign_in.OpenVisit], Awaitable[Response]]) -> Endpoint:
    """Return the endpoint of a page that needs no session."""

    async def endpoint(request: Request) -> Response:
        name_page(request.scope, path)
        if request.method == "POST":
            require_same_origin(request, portal.settings.public_url)
        token = portal.cookies.token(request) or ""
        form = await read_form(request, is_unknown=token not in portal.recent_tokens)
        return await serve(sign_in.OpenVisit(portal, request, form, _caller(request, token)))

    return endpoint


def _guarded(portal: Portal, page: Page) -> Endpoint:
    """Return the endpoint of a page for people who are signed in."""

    async def endpoint(request: Request) -> Response:
        name_page(request.scope, page.path)
        if request.method == "POST":
            require_same_origin(request, portal.settings.public_url)
        form = None
        try:
            caller, who = await _identified(portal, request)
            form = await read_form(request, is_unknown=False)
            visit = await _begin(portal, request, caller, who, form)
            request.state.visit = visit
            return await page.serve(visit)
        except ApiError as error:
            if not error.is_signed_out:
                raise
        except SignedOut:
            pass
        is_unknown = portal.cookies.token(request) not in portal.recent_tokens
        kept = form or await read_form(request, is_unknown=is_unknown)
        return await sign_in.to_sign_in(portal, _caller(request, ""), request, kept)

    return endpoint


async def _identified(portal: Portal, request: Request) -> tuple[Caller, operator_pb2.GetCallerResponse]:
    """Find out who sends the request.

    Raises:
        SignedOut: There is no session.
        ApiError: It has ended, or no server can be reached.
    """
    token = portal.cookies.token(request)
    if token is None:
        raise SignedOut
    caller = _caller(request, token)
    who: operator_pb2.GetCallerResponse = await portal.api.call(operator_pb2.GetCallerRequest(), caller)
    portal.recent_tokens.add(token)
    return caller, who


async def _begin(
    portal: Portal, request: Request, caller: Caller, who: operator_pb2.GetCallerResponse, form: Form
) -> Visit:
    """Return the visit.

    Raises:
        NotFromThePortal: The form does not have the session's token.
    """
    if request.method == "POST" and not is_csrf_token(form[CSRF], caller.secret):
        raise NotFromThePortal
    visit = Visit(portal, request, caller, who, form)
    await visit.load_projects()
    return visit


def _caller(request: Request, secret: str) -> Caller:
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _SAFE_ID.fullmatch(given) else str(uuid.uuid4())
    return Caller(secret, _address(request), request_id)


def _address(request: Request) -> str:
    """Return the browser's address, as the gateway reports it."""
    given = request.headers.get(CALLER) or (request.client.host if request.client else "")
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return "unknown"


def _problem_handler(portal: Portal) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return what answers errors with a page that has a way back."""

    async def answer(request: Request, error: Exception) -> Response:
        request_id = _caller(request, "").request_id
        problem = _problem(error)
        if problem.status >= 500:  # noqa: PLR2004 - the class of server errors (RFC 9110, 15.6)
            portal.failures.log(error, request.url.path, request_id)
        text = portal.render(
            "problem.html",
            visit=getattr(request.state, "visit", None),
            title=problem.title,
            crumbs=[],
            notice="",
            problem=problem,
            request_id=request_id,
        )
        return Response(text, int(problem.status), media_type="text/html; charset=utf-8")

    return answer


def _problem(error: Exception) -> PortalError:
    if isinstance(error, PortalError):
        return error
    if isinstance(error, HTTPException):
        return PageNotFound() if error.status_code in (404, 405) else PortalError(error.detail)
    return PortalError(
        "The portal failed unexpectedly. Try again, or search the portal's log for the request ID."
    )
