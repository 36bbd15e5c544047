"""Signing in at the OpenID provider: the way there, and back."""

from __future__ import annotations

import hmac
from dataclasses import replace
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from clarion.admin.v1 import operator_pb2 as pb

from ..errors import ApiError
from ..forms import KEPT, Form
from ..oidc import Attempt, SignInFailed
from .open_visit import MAX_AGENT, OpenPage, OpenVisit, session_response, show_sign_in

__all__ = ["OPEN_PAGES"]

_CALLBACK = "/sign-in/oidc/callback"
_OUTDATED = "This sign-in has expired, or was started in another browser. Start again."
_NO_PROVIDER = "No OpenID provider is configured. Sign in with an admin key."
_MAX_SHOWN = 200


async def begin(visit: OpenVisit) -> Response:
    """Lead to the provider."""
    portal, query = visit.portal, visit.request.query_params
    provider, problem = await portal.oidc.provider(visit.caller)
    if problem or not provider.issuer:
        return await _failed(visit, problem or _NO_PROVIDER)
    attempt = Attempt.begin(query.get("next", ""), query.get(KEPT, ""))
    url = portal.oidc.url(provider, attempt, _redirect_uri(visit))
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    portal.cookies.put_attempt(visit.request, response, attempt.encoded())
    return response


async def finish(visit: OpenVisit) -> Response:
    """Start a session for the person whom the provider has signed in."""
    portal, request = visit.portal, visit.request
    attempt = Attempt.decoded(portal.cookies.attempt(request))
    try:
        token = await _session(visit, attempt)
    except (SignInFailed, ApiError) as error:
        return await _failed(visit, str(error), error.status, attempt)
    assert attempt is not None  # noqa: S101 - without one, there is no session
    values = {"next": attempt.next, KEPT: portal.kept_forms.take(attempt.kept, visit.caller.secret)}
    response = await session_response(replace(visit, form=Form(None, values)), token)
    portal.cookies.drop_attempt(request, response)
    return response


async def _session(visit: OpenVisit, attempt: Attempt | None) -> str:
    """Return the token of a new session.

    Raises:
        SignInFailed: The provider has not signed the person in, or this is not the browser that began.
        ApiError: The servers do not accept the ID token, or it has no access.
    """
    portal, query = visit.portal, visit.request.query_params
    if attempt is None or not hmac.compare_digest(query.get("state", "").encode(), attempt.state.encode()):
        raise SignInFailed(_OUTDATED)
    provider, problem = await portal.oidc.provider(visit.caller)
    if problem or not provider.issuer:
        raise SignInFailed(problem or _NO_PROVIDER)
    if query.get("iss", provider.issuer) != provider.issuer:  # RFC 9207
        raise SignInFailed("The response is from another OpenID provider. Start again.")
    code = query.get("code", "")
    if not code:
        why = query.get("error_description") or query.get("error") or "it sent no code"
        raise SignInFailed(f"The provider did not sign you in: {why[:_MAX_SHOWN]}")
    address = visit.caller.address
    portal.wrong_codes.check(address)  # each costs a request to the provider, right or wrong
    try:
        return await _exchanged(visit, provider, code, attempt)
    except (SignInFailed, ApiError):
        portal.wrong_codes.failed(address)
        raise


async def _exchanged(visit: OpenVisit, provider: pb.GetSignInResponse, code: str, attempt: Attempt) -> str:
    """Return the token of a new session for a code of the provider."""
    portal = visit.portal
    id_token = await portal.oidc.id_token(provider, code, attempt, _redirect_uri(visit))
    made: pb.CreateSessionByOidcResponse = await portal.api.call(
        pb.CreateSessionByOidcRequest(
            id_token=id_token,
            nonce_verifier=attempt.nonce_verifier,
            user_agent=visit.request.headers.get("user-agent", "")[:MAX_AGENT],
        ),
        visit.caller,
    )
    return made.token


async def _failed(
    visit: OpenVisit,
    why: str,
    status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE,
    attempt: Attempt | None = None,
) -> Response:
    """Return the sign-in page with what went wrong. What was typed is still kept."""
    form = Form(None, {"next": attempt.next if attempt else ""})
    form.fail("", why)
    form.status = status
    kept = attempt.kept if attempt else ""
    response = await show_sign_in(visit.portal, visit.caller, form, kept=kept)
    visit.portal.cookies.drop_attempt(visit.request, response)
    return response


def _redirect_uri(visit: OpenVisit) -> str:
    portal = visit.portal
    return f"{portal.cookies.origin(visit.request)}{portal.base}{_CALLBACK}"


OPEN_PAGES: tuple[OpenPage, ...] = (("/sign-in/oidc", begin), (_CALLBACK, finish))
