"""Converts MJML to HTML. The conversion is a native call that cannot be interrupted, so its input is limited.

Measured on one shared core: 0.1 ms for a typical email (10 sections), and 0.5 ms for 250 KiB of text. The
slowest input without inline styles is a carousel of 800 images, because its HTML grows with the square of
their number: 40 ms, after which the HTML is rejected as too long. The conversion reads no files or URLs:
`mj-include` is rejected and stylesheet links are not followed.
"""

from __future__ import annotations

import math
import re

import mrml

from ..domain.delivery_errors import RenderError
from .limits import MAX_OUTPUT

__all__ = ["check", "to_html"]

MAX_SOURCE = 256 * 1024
"""Maximum length of the MJML that Liquid returns, in characters."""
# The parser recurses once per level of nesting, and a stack overflow kills the process (on a stack of 8 MiB:
# 1,750 nested sections, or 5,300 other elements). A limit on elements also limits the nesting.
MAX_COMPONENTS = 800
"""Maximum number of MJML elements, `<mj-…>`."""
MAX_ELEMENTS = 3000
"""Maximum number of elements of any kind."""
MAX_INLINING = 20_000_000
"""Maximum square of the number of declarations in inline styles, times the number of elements. Each element
is compared with each rule, and each declaration of an element with its others: 0.1 s at the limit."""

# A tag up to its end, with quoted values, or a comment. Neither needs to end, so a search takes linear time.
_TAG_OR_COMMENT = re.compile(r"""<!--.*?(?:-->|\Z)|<[a-z](?:"[^"]*"|'[^']*'|[^'"<>])*""", re.I | re.S)
_VALUE = re.compile(r"""(?<==)\s*(?:"[^"]*"|'[^']*')""")
_ELEMENT = re.compile(r"<(?![/!])")
_FAULT = re.compile(r"(?P<what>.*?) in root template(?: at position (?P<start>\d+):\d+)?", re.S)
_LEFT_OVER = re.compile(r"<(mj-[a-z-]+)")
_OPTIONS = mrml.ParserOptions(include_loader=mrml.noop_loader())


def to_html(source: str) -> str:
    """Return the HTML of an MJML document.

    Raises:
        RenderError: The document is not well-formed, contains `mj-include`, or is too long.
    """
    _check_size(source)
    html = _convert(source).content
    if len(html.encode("utf-8", "replace")) > MAX_OUTPUT:
        raise RenderError(f"the HTML is longer than {MAX_OUTPUT >> 20} MiB")
    return html


def check(source: str) -> None:
    """Check an MJML document when its campaign is applied. This is stricter than `to_html`.

    mrml copies unknown MJML elements to the HTML, where mail programs ignore them. Here they are errors.

    Raises:
        RenderError: As for `to_html`, or an element is misspelt or misplaced.
    """
    _check_size(source)
    left = _LEFT_OVER.search(_convert(source, mrml.RenderOptions(disable_comments=True)).content)
    if left:
        raise RenderError(f"<{left[1]}> is misspelt or not allowed here")


def _check_size(source: str) -> None:
    if len(source) > MAX_SOURCE:
        raise RenderError(f"the MJML is longer than {MAX_SOURCE >> 10} KiB")
    elements = len(_ELEMENT.findall(source))
    if source.count("<mj-") > MAX_COMPONENTS or elements > MAX_ELEMENTS:
        raise RenderError(
            f"more than {MAX_COMPONENTS} MJML elements, or more than {MAX_ELEMENTS} elements of any kind"
        )
    declarations = _declarations(source)
    if declarations**2 * elements > MAX_INLINING:
        raise RenderError(
            f"too many inline styles: {declarations} declarations for {elements} elements; "
            f"at most {math.isqrt(MAX_INLINING // elements)} are allowed"
        )


def _declarations(source: str) -> int:
    """Return at least the number of rules and declarations in styles, if any of these are inline."""
    start, end = source.find("<mj-style"), source.rfind("</mj-style")
    styles = source[start:end] if 0 <= start < end else ""
    return styles.count("{") + styles.count(":") if "inline" in styles else 0


def _convert(source: str, options: mrml.RenderOptions | None = None) -> mrml.Output:
    source = _TAG_OR_COMMENT.sub(_with_escaped_quotes, source)
    try:
        return mrml.to_html(source, _OPTIONS, options)
    except Exception as error:
        raise RenderError(_explain(source, str(error))) from None


def _with_escaped_quotes(tag: re.Match[str]) -> str:
    """Escape the double quotes in the values of a tag.

    mrml copies a value as it is written, and puts it in double quotes even if it was in single quotes, as in
    `font-family='"Open Sans"'`.
    """
    text = tag[0]
    if "'" not in text or text.startswith("<!"):
        return text
    return _VALUE.sub(_escaped, text)


def _escaped(value: re.Match[str]) -> str:
    return value[0].replace('"', "&#34;") if value[0].endswith("'") else value[0]


def _explain(source: str, message: str) -> str:
    """Convert the byte offset in an error of mrml to a line and column of the MJML that Liquid returned."""
    match = _FAULT.search(message)
    if match is None:
        return message
    if "included template" in match["what"]:
        return "mj-include is not supported"
    if match["start"] is None:
        return f"{match['what']}: an element is not closed, a < should be &lt;, or a value has no quotes"
    before = source.encode("utf-8", "replace")[: int(match["start"])].decode("utf-8", "replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"{match['what']} at line {line}, column {column} of the MJML"
