"""Access to the portal: sessions and admin keys."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import operator_pb2 as pb

from ..numbers import whole_number
from ..visit import ROLES, Page, Section, Visit

__all__ = ["PAGES", "SECTION"]

SECTION = Section("Access", "/access", role="admin")
_PAGE = 50
_MAX_DAYS = 366
_ROLE, _PROJECT = "grants[0].role", "grants[0].project"
_EVERYWHERE = "*"
"""Stands for all projects, so that an empty choice is none."""


async def access(visit: Visit) -> Response:
    """List sessions and admin keys."""
    sessions: pb.ListSessionsResponse = await visit.call(
        pb.ListSessionsRequest(page_size=_PAGE, page_token=visit.query("page"))
    )
    keys: pb.ListAdminKeysResponse = await visit.call(
        pb.ListAdminKeysRequest(page_size=_PAGE, page_token=visit.query("keys_page"))
    )
    return visit.page("access.html", "Access", sessions=sessions, keys=keys)


async def new_key(visit: Visit) -> Response:
    """Create an admin key and show its secret once, in the answer to the form."""
    visit.require(pb.CreateAdminKeyRequest)
    form = visit.form
    if form.is_sent:
        days = whole_number(form["expires_in_days"], _MAX_DAYS)
        if form["expires_in_days"] and not days:
            form.fail("expires_in_days", f"This is not a number of days from 1 to {_MAX_DAYS}.")
        elif not form[_PROJECT]:
            form.fail(_PROJECT, "Choose a project, or all projects.")
        else:
            with form.checked():
                project = "" if form[_PROJECT] == _EVERYWHERE else form[_PROJECT]
                grant = pb.Grant(role=form[_ROLE], project=project)
                made: pb.CreateAdminKeyResponse = await visit.call(
                    pb.CreateAdminKeyRequest(
                        display_name=form["display_name"], grants=[grant], expires_in_days=days or 0
                    )
                )
                key = made.admin_key
                return visit.page(
                    "admin_key_secret.html", "New admin key", crumbs=[SECTION], key=key, secret=made.secret
                )
    form.start(**{_ROLE: "viewer", "expires_in_days": "90"})
    everywhere = [(_EVERYWHERE, "All projects")] if visit.has_role_everywhere("admin") else []
    named = [(one, one) for one in visit.projects if visit.has_role("admin", one)]
    projects = [("", "Choose"), *everywhere, *named]
    return visit.page("admin_key_new.html", "New admin key", crumbs=[SECTION], roles=ROLES, projects=projects)


async def end_session(visit: Visit) -> Response:
    """End a session."""
    session_id = visit.path("session_id")
    found: pb.GetSessionResponse = await visit.call(pb.GetSessionRequest(session_id=session_id))
    session = found.session
    if visit.form.is_sent:
        with visit.form.checked():
            await visit.call(pb.RevokeSessionRequest(session_id=session_id))
            return visit.redirect("/access", f"The session of {session.display_name} was ended.")
    text = f"{session.display_name} must sign in again to continue. What they have typed is kept."
    return visit.confirm("End session", text, "End this session", crumbs=[SECTION])


async def revoke_key(visit: Visit) -> Response:
    """Revoke an admin key."""
    key_id = visit.path("key_id")
    found: pb.GetAdminKeyResponse = await visit.call(pb.GetAdminKeyRequest(admin_key_id=key_id))
    key = found.admin_key
    if visit.form.is_sent:
        with visit.form.checked():
            await visit.call(pb.RevokeAdminKeyRequest(admin_key_id=key_id))
            return visit.redirect("/access", f"The admin key {key.display_name} was revoked.")
    text = (
        f"{key.display_name} ({key.secret_hint}) stops working within a second, and so do the sessions that "
        "were started with it. This cannot be undone."
    )
    return visit.confirm("Revoke admin key", text, "Revoke this key", crumbs=[SECTION])


PAGES = (
    Page("/access", access),
    Page("/access/keys/new", new_key, has_form=True),
    Page("/access/sessions/{session_id}/end", end_session, has_form=True),
    Page("/access/keys/{key_id}/revoke", revoke_key, has_form=True),
)
