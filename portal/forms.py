"""Forms: what was sent, and what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from .errors import ApiError, TooLarge, Violation
from .security import MAX_BODY_BYTES, MAX_UNKNOWN_BYTES

__all__ = ["CSRF", "KEPT", "RESTORED", "Form", "kept_fields", "read_form"]

CSRF, RESTORED, KEPT = "csrf_token", "restored", "kept"
_OWN = frozenset({CSRF, RESTORED})
_SECRETS = frozenset({"key", "secret", "password", "token"})
"""Fields that are not kept, because that would write them into a page."""
_MAX_FIELDS, _MAX_FILES = 1000, 4
_TOO_LARGE_TO_KEEP = (
    "You are not signed in, and the form is too large to keep. Go back in your browser, copy what you typed, "
    "and sign in."
)
_ITEM = re.compile(r"([a-z_]+)\[(\d+)\]")
"""The field of a violation in an item of a list, such as `addresses[3]`."""
_MAX_ITEMS_SHOWN = 20
_SHOWN_IN_THE_FORM = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Errors after which the form is shown again, so that nothing that was typed is lost."""


class Form:
    """The fields of a form, which are named like the fields of the API's request.

    Attributes:
        is_sent: Whether the person submitted it. A form that is only restored after signing in again does not
            count.
        is_restored: Whether it was restored after signing in again.
        problem: What is wrong with the form as a whole; empty if nothing is.
        errors: What is wrong, by field.
        labels: What the page calls the fields, for the list of what is wrong.
        status: The status of the page that shows it.

    Args:
        data: The fields that were sent; None if none were.
        start: The values to show in a form that was not sent.
    """

    def __init__(self, data: FormData | None = None, start: Mapping[str, Any] | None = None) -> None:
        self._data = data
        self._start = dict(start or {})
        self._put: dict[str, str] = {}
        self.is_restored = data is not None and RESTORED in data
        self.is_sent = data is not None and not self.is_restored
        self.problem = ""
        self.errors: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.status = HTTPStatus.OK
        self.reason = ""
        self._names: Mapping[str, str] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether a field was sent."""
        return self._data is not None and name in self._data

    def __getitem__(self, name: str) -> str:
        """Return a field's text without surrounding spaces; empty if it was not sent."""
        return self.text(name).strip()

    def text(self, name: str) -> str:
        """Return a field's text as it was sent, with Unix line endings."""
        value = self._start.get(name, "") if self._data is None else self._data.get(name, "")
        value = self._put.get(name, value)
        text = "" if isinstance(value, UploadFile) else str(value)
        return _encodable(text.replace("\r\n", "\n"))

    def all(self, name: str) -> list[str]:
        """Return the texts of all fields with a name, such as checkboxes."""
        if self._data is None:
            return [str(one) for one in self._start.get(name, ())]
        return [_encodable(one) for one in self._data.getlist(name) if isinstance(one, str)]

    def file(self, name: str) -> UploadFile | None:
        """Return an uploaded file, or None if none was chosen."""
        value = self._data.get(name) if self._data else None
        return value if isinstance(value, UploadFile) and value.filename else None

    def is_checked(self, name: str) -> bool:
        """Return whether a checkbox is checked."""
        return bool(self[name])

    def start(self, **values: Any) -> Form:
        """Set the values to show if the form was not sent; return the form."""
        self._start.update(values)
        return self

    def shows(self, name: str) -> bool:
        """Return whether the form has a field of this name, so that a link can lead to it."""
        return "." not in name or name in self or name in self._names.values()

    def fail(self, field: str, description: str) -> None:
        """Note what is wrong with a field, or with the whole form if the name is empty."""
        if field:
            before = self.errors.get(field)
            self.errors[field] = f"{before}; {description}" if before else description
        else:
            self.problem = self.problem or description
        if self.status is HTTPStatus.OK:
            self.status = HTTPStatus.UNPROCESSABLE_ENTITY

    def note_label(self, name: str, label: str) -> str:
        """Note the label of a field on the page; return an empty text, which a template can print."""
        if "." not in name:  # those of the templates of a campaign have the same label for each locale
            self.labels[name] = label
        return ""

    def put(self, name: str, text: str) -> None:
        """Set the text that a field shows, such as that of an uploaded file."""
        self._put[name] = text

    @contextmanager
    def checked(self, lines: Sequence[int] = (), names: Mapping[str, str] | None = None) -> Iterator[None]:
        """Run the block; if the API rejects a call, note why in the form, and continue after the block.

        Args:
            lines: The line from which each item of a list was read, for what is wrong with an item.
            names: The form's field names by the API's, where they differ.
        """
        self._names = names or {}
        try:
            yield
        except ApiError as error:
            if error.status not in _SHOWN_IN_THE_FORM:
                raise
            self.status, self.reason = error.status, error.reason
            self.note(error.violations, lines)
            if not error.violations:
                self.fail("", str(error))

    def note(self, violations: Sequence[Violation], lines: Sequence[int] = ()) -> None:
        """Note what is wrong; for an item of a list, at the list's field, with its line."""
        of_items: dict[str, list[str]] = {}
        for one in violations:
            name = self._name_of(one.field)
            item = None if name in self else _ITEM.match(name)
            if item is None:
                self.fail(name, one.description)
                continue
            place = int(item[2])
            line = lines[place] if place < len(lines) else place + 1
            where = f"Line {line}: " if "\n" in self.text(item[1]) else ""
            of_items.setdefault(item[1], []).append(f"{where}{one.description}.")
        for name, texts in of_items.items():
            more = len(texts) - _MAX_ITEMS_SHOWN
            self.fail(name, " ".join(texts[:_MAX_ITEMS_SHOWN]) + (f" {more} more." if more > 0 else ""))

    def _name_of(self, field: str) -> str:
        """Return the form's name of a field of the API, such as `timezone` for `project.timezone`."""
        if field in self._names:
            return self._names[field]
        inner = field.partition(".")[2]
        return inner if inner.partition("[")[0] in self else field

    def kept(self) -> str:
        """Return the texts to bring back after signing in again, without secrets and files."""
        items = self._data.multi_items() if self._data else []
        return json.dumps(
            [(name, text) for name, text in items if isinstance(text, str) and name not in _OWN | _SECRETS]
        )


def kept_fields(kept: str) -> list[tuple[str, str]]:
    """Return the fields that `Form.kept` encoded."""
    try:
        fields = json.loads(kept)
        return [(_encodable(str(name)), _encodable(str(text))) for name, text in fields if name not in _OWN]
    except (ValueError, TypeError, RecursionError):
        return []


def _encodable(text: str) -> str:
    """Return a text without lone surrogates, which a form in an unusual charset can contain."""
    return text.encode(errors="replace").decode()


async def read_form(request: Request, *, is_unknown: bool) -> Form:
    """Return the form that a request sends; an empty one for GET.

    Args:
        request: The request.
        is_unknown: Whether no session of the sender is known. Such a form may only be small.

    Raises:
        TooLarge: It has too many fields or bytes.
    """
    if request.method != "POST":
        return Form()
    length = request.headers.get("content-length", "")
    if is_unknown and not (length.isascii() and length.isdecimal() and int(length) <= MAX_UNKNOWN_BYTES):
        raise TooLarge(_TOO_LARGE_TO_KEEP)
    try:
        data = await request.form(max_fields=_MAX_FIELDS, max_files=_MAX_FILES, max_part_size=MAX_BODY_BYTES)
    except HTTPException as error:
        raise TooLarge(f"The form cannot be read: {error.detail}") from error
    return Form(data)
