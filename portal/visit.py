"""One request to a page by a person who is signed in, with what pages need to read it and to respond."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clarion.admin.v1 import operator_pb2, project_pb2

from .api import AdminApi, Caller, is_write, required_role
from .csv_files import ROWS_OF_A_PAGE, Rows, csv_download, list_pages
from .errors import NotAllowed, ReadOnly
from .followed import Viewer
from .forms import Form
from .live import LIVE_HEADERS, LiveRow, events
from .portal import Portal
from .security import SANDBOX
from .session import csrf_token
from .stream_limits import Owner
from .streamed import Streamed

__all__ = ["FRAMED", "ROLES", "Page", "Section", "Visit"]

FRAMED = "/framed/"
"""The beginning of the paths of documents in frames."""

ROLES = ("viewer", "operator", "author", "admin")
_SHOWN_PROJECTS = 100
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the navigation.

    Attributes:
        title: What it is called.
        path: The page that it leads to.
        role: The role that the page needs.
        everywhere: Whether it needs the role for all projects.
    """

    title: str
    path: str
    role: str = "viewer"
    everywhere: bool = False


@dataclass(slots=True)
class Visit:
    """A request by a person who is signed in.

    Attributes:
        portal: The portal.
        request: The request.
        caller: On whose behalf the API is called.
        who: That person's name and roles.
        form: What was sent; empty for GET.
        projects: The projects to choose from, by name; at most the first 100.
    """

    portal: Portal
    request: Request
    caller: Caller
    who: operator_pb2.GetCallerResponse
    form: Form
    projects: list[str] = field(default_factory=list)

    @property
    def api(self) -> AdminApi:
        """The client of the admin API."""
        return self.portal.api

    @property
    def csrf(self) -> str:
        """The token for the page's forms."""
        return csrf_token(self.caller.secret)

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed here."""
        return self.portal.settings.read_only

    @property
    def origin(self) -> str:
        """Scheme and host of the gateway, as browsers reach it."""
        return self.portal.cookies.origin(self.request)

    @property
    def project(self) -> str:
        """The chosen project: the one in the URL, or the only one; empty for all."""
        only = self.projects[0] if len(self.projects) == 1 else ""
        return self.request.path_params.get("project") or self.query("project") or only

    def query(self, name: str) -> str:
        """Return a parameter of the URL; empty if it is missing."""
        return self.request.query_params.get(name, "").strip()

    def path(self, name: str) -> str:
        """Return a variable of the page's path."""
        return str(self.request.path_params[name])

    def url(self, path: str, **query: object) -> str:
        """Return the URL of a page of the portal; parameters that are empty are left out."""
        given = {name: value for name, value in query.items() if value not in ("", None)}
        return f"{self.portal.base}{path}{'?' + urlencode(given, doseq=True) if given else ''}"

    def same_url(self, **changed: object) -> str:
        """Return this page's URL with other parameters."""
        query: dict[str, object] = {
            name: self.request.query_params.getlist(name) for name in self.request.query_params
        }
        return self.url(self.here, **{**query, **changed})

    @property
    def here(self) -> str:
        """This page's path within the portal."""
        return self.request.url.path.removeprefix(self.portal.base)

    def has_role(self, role: str, project: str = "") -> bool:
        """Return whether the person has a role: for a project, or for any."""
        level = ROLES.index(role)
        return any(
            ROLES.index(grant.role) >= level and (not project or grant.project in ("", project))
            for grant in self.who.grants
        )

    def has_role_everywhere(self, role: str) -> bool:
        """Return whether the person has a role for all projects."""
        level = ROLES.index(role)
        return any(ROLES.index(grant.role) >= level and not grant.project for grant in self.who.grants)

    def sees(self, section: Section) -> bool:
        """Return whether to show the person an entry of the navigation."""
        if section.everywhere:
            return self.has_role_everywhere(section.role)
        return self.has_role(section.role)

    def can(self, request: type[Message], project: str = "") -> bool:
        """Return whether to offer what a request does: the person has its role, and may change things."""
        role = required_role(request)
        return not (self.read_only and is_write(request)) and (not role or self.has_role(role, project))

    def require(self, request: type[Message], project: str = "") -> None:
        """Check that `can` allows to offer what a request does, before its form is shown or read.

        Raises:
            NotAllowed: The person lacks its role.
            ReadOnly: It would change something in read-only mode.
        """
        if self.can(request, project):
            return
        raise ReadOnly if self.read_only else NotAllowed

    async def call(self, request: Message, caller: Caller | None = None) -> Any:
        """Call the method of the API that takes this request.

        Args:
            request: The request.
            caller: The caller, if it is not the person who is signed in.

        Raises:
            ApiError: The call failed.
            ReadOnly: It would change something in read-only mode.
        """
        self._require_writable(request)
        return await self.api.call(request, caller or self.caller)

    def stream(self, request: Message) -> AsyncIterator[Any]:
        """Return the messages of the stream that takes this request."""
        self._require_writable(request)
        return self.api.stream(request, self.caller)

    def _require_writable(self, request: Message) -> None:
        if self.read_only and is_write(request):
            raise ReadOnly

    def page(self, template: str, title: str, *, crumbs: Iterable[Section] = (), **values: Any) -> Response:
        """Return a page.

        Args:
            template: Its name in `templates/`.
            title: The page's title and first heading.
            crumbs: The pages above it, the highest first, for the way back.
            values: What the template shows.
        """
        notice = self.portal.cookies.notice(self.request, self.caller.secret)
        shown = {"form": self.form, **values, "visit": self, "title": title, "crumbs": list(crumbs)}
        text = self.portal.render(template, **shown, notice=notice)
        response = Response(text, int(self.form.status), media_type="text/html; charset=utf-8")
        if notice:
            self.portal.cookies.drop_notice(self.request, response)
        return response

    def confirm(self, title: str, text: str, button: str, *, crumbs: Iterable[Section] = ()) -> Response:
        """Return a page that asks whether to do something dangerous; its button sends POST to this URL."""
        return self.page("confirm.html", title, crumbs=crumbs, text=text, button=button)

    def fragment(self, template: str, **values: Any) -> str:
        """Return a part of a page, for a live tail."""
        return self.portal.render(template, **values, visit=self)

    def framed(self, html: str) -> str:
        """Return the address at which a frame of this page loads HTML from outside, for `ui.frame`."""
        return self.url(FRAMED + self.portal.framed.put(self.caller.secret, html))

    def sandboxed(self, html: str) -> Response:
        """Return HTML from outside as the document of a frame, whose links do nothing.

        They open new windows, which the frame may not. Otherwise they would replace the message.
        """
        doctype = _DOCTYPE.match(html)
        start = doctype.end() if doctype else 0
        html = f'{html[:start]}<base target="_blank">{html[start:]}'
        headers = {"content-security-policy": SANDBOX, "x-frame-options": "SAMEORIGIN"}
        return Response(html, headers=headers, media_type="text/html; charset=utf-8")

    def redirect(self, path: str, notice: str = "", **query: object) -> Response:
        """Return a redirect to a page of the portal, which shows a notice."""
        response = RedirectResponse(self.url(path, **query), HTTPStatus.SEE_OTHER)
        if notice:
            self.portal.cookies.put_notice(self.request, response, self.caller.secret, notice)
        return response

    def tail(self, request: Message, rows: Callable[[Any], Sequence[LiveRow]]) -> Response:
        """Return a live tail of a list: a stream of server-sent events, whose path must begin with `/live/`.

        Args:
            request: Requests the list, newest first.
            rows: Returns the rows of a response. Viewers with the same roles share them.
        """
        key = (_grants(self.who), type(request), request.SerializeToString(deterministic=True))

        async def load() -> Sequence[LiveRow]:
            return rows(await self.call(request))

        async def check() -> None:
            who = await self.call(operator_pb2.GetCallerRequest())
            if _grants(who) != key[0]:
                raise NotAllowed  # the browser connects again, with the new roles

        tail = events(Viewer(self.portal.followed, key, load, self._owner), check)
        return Streamed(tail, "text/event-stream", LIVE_HEADERS)

    async def download(self, name: str, columns: Sequence[str], request: Any, rows: Rows) -> Response:
        """Return a whole list as CSV, whose path must begin with `/export/`; see `csv_download`.

        Raises:
            TooManyStreams: The person has too many downloads and live tails.
        """
        streams, owner = self.portal.streams, self._owner
        request.page_size = ROWS_OF_A_PAGE
        first = await self.call(request)
        streams.require(owner)  # for a page that says so, because the download begins later
        pages = list_pages(self.call, request, first, rows, streams.taken(owner))
        return csv_download(name, columns, pages)

    @property
    def _owner(self) -> Owner:
        return Owner(self.who.session_id, self.who.owner or self.who.display_name)

    async def load_projects(self) -> None:
        """Read the projects to choose from."""
        request = project_pb2.ListProjectsRequest(page_size=_SHOWN_PROJECTS)
        if self.has_role("viewer"):
            found: project_pb2.ListProjectsResponse = await self.call(request)
            self.projects = [one.project for one in found.projects]


def _grants(who: operator_pb2.GetCallerResponse) -> tuple[tuple[str, str], ...]:
    """Return the roles of a person with their projects."""
    return tuple(sorted((one.role, one.project) for one in who.grants))


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its forms.

    Attributes:
        path: Its path within the portal, with variables such as `{project}`.
        serve: Answers GET, and POST if it has a form.
        has_form: Whether it accepts POST.
    """

    path: str
    serve: Callable[[Visit], Awaitable[Response]]
    has_form: bool = False

    @property
    def methods(self) -> list[str]:
        """The HTTP methods that it accepts."""
        return ["GET", "POST"] if self.has_form else ["GET"]
