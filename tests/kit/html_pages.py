"""What a page of HTML contains, as a browser reads it: links, forms, text, and what would run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

__all__ = ["Field", "PageForm", "PageOfHtml", "read_page"]

_VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
_URLS = {"href", "src", "action", "formaction", "data", "srcdoc", "xlink:href"}
_NEVER = {"img", "object", "embed", "base", "style", "math"}
"""Elements that no page of the portal has."""


@dataclass
class Field:
    """A field of a form.

    Attributes:
        kind: Such as `hidden`, `text`, `textarea`, `select` or `checkbox`.
        values: What is sent if it is not changed; empty for an unchecked box.
        is_wrong: Whether it is marked as invalid.
    """

    name: str
    kind: str
    values: list[str] = field(default_factory=list)
    is_wrong: bool = False


@dataclass
class PageForm:
    """A form that is sent by POST."""

    action: str
    fields: list[Field] = field(default_factory=list)

    def data(self) -> dict[str, str | list[str]]:
        """Return what is sent if nothing is changed."""
        found: dict[str, str | list[str]] = {}
        for one in self.fields:
            before = found.get(one.name, [])
            found[one.name] = [*(before if isinstance(before, list) else [before]), *one.values]
        return {name: value[0] if len(value) == 1 else value for name, value in found.items() if value}


@dataclass
class PageOfHtml:
    """What a page contains.

    Attributes:
        ids: The IDs of its elements.
        alerts: The texts of elements with the role alert.
        unsafe: Elements and attributes that would run, or that no page of the portal has.
    """

    title: str = ""
    text: str = ""
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    forms: list[PageForm] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)


def read_page(text: str) -> PageOfHtml:
    """Return what a page contains."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = PageOfHtml()
        self._open: list[tuple[str, bool]] = []
        self._form: PageForm | None = None
        self._is_filter = False
        self._field: Field | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._check(tag, given)
        self.page.ids.add(given.get("id", ""))
        if tag not in _VOID:
            self._open.append((tag, given.get("role") == "alert"))
            if given.get("role") == "alert":
                self.page.alerts.append("")
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag == "form":
            self._start_form(given)
        elif tag in ("input", "textarea", "select", "button"):
            self._add_field(tag, given)
        elif tag == "option" and self._field is not None:
            value = given.get("value", "")
            if "selected" in given or not self._field.values:
                self._field.values = [value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and tag not in _VOID:
            opened, _ = self._open.pop()
            if opened == tag:
                break
        if tag == "form":
            self._form, self._is_filter = None, False
        elif tag in ("textarea", "select"):
            self._field = None

    def handle_data(self, data: str) -> None:
        inside = {tag for tag, _ in self._open}
        if "title" in inside and "svg" not in inside:
            self.page.title += data
        self.page.text += data
        if any(is_alert for _, is_alert in self._open):
            self.page.alerts[-1] += data
        if self._field is not None and self._field.kind == "textarea":
            # A browser drops the first line end of a text area.
            whole = self._field.values[0] + data if self._field.values else data.removeprefix("\n")
            self._field.values = [whole]

    def _start_form(self, given: Mapping[str, str]) -> None:
        if given.get("method", "").lower() == "post":
            self._form = PageForm(given.get("action", ""))
            self.page.forms.append(self._form)
        else:
            self._is_filter = True

    def _add_field(self, tag: str, given: Mapping[str, str]) -> None:
        name = given.get("name", "")
        if self._is_filter and name:
            self.page.filters.append(name)
        if self._form is None or not name:
            return
        kind = given.get("type", "text") if tag == "input" else tag
        if kind == "button" and any(one.name == name for one in self._form.fields):
            return  # the form's first button is the one that a press of Enter uses
        is_set = kind not in ("checkbox", "radio") or "checked" in given
        value = [given.get("value", "")] if tag in ("input", "button") and is_set else []
        self._form.fields.append(Field(name, kind, value, given.get("aria-invalid") == "true"))
        if tag in ("textarea", "select"):
            self._field = self._form.fields[-1]

    def _check(self, tag: str, given: Mapping[str, str]) -> None:
        """Note what would run."""
        runs = {name for name in given if name.startswith("on") or name == "style"}
        urls = {name for name in _URLS & given.keys() if urlsplit(given[name]).scheme not in _SCHEMES}
        foreign = tag == "script" and not given.get("src", "").startswith("/")
        unframed = tag == "iframe" and given.get("sandbox") != ""
        if tag in _NEVER or runs or urls or foreign or unframed:
            self.page.unsafe.append(f"<{tag} {dict(given)}>"[:300])


_SCHEMES = {"", "http", "https"}
