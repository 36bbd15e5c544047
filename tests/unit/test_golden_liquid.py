"""golden-liquid, a suite of cases that Shopify's Liquid passes, run with the environment of templates.

The suite is not part of this repository: put golden-liquid.json of github.com/jg-rp/golden-liquid into
`../shared/conformance/`, or its path into GOLDEN_LIQUID.
"""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

import pytest
from liquid.exceptions import LiquidError, UndefinedError

from server.domain.campaign import Undefined
from server.templates.environment import TemplateEnvironment, environment_for, render_text
from server.templates.limits import Budget, Recipient

ROOT = Path(__file__).parents[2]
SUITE = Path(os.environ.get("GOLDEN_LIQUID", ROOT.parent / "shared/conformance/golden-liquid.json"))

# docs/reference/liquid.md has the reasons. Cases that include other templates are exceptions, too.
EXCEPTIONS = {"tags, case, unexpected when token", "tags, comment, incomplete tags are not parsed"}
# These insert entities as data, and in HTML data are escaped.
EXCEPTIONS_IN_HTML = {
    "filters, strip html, some HTML markup",
    "filters, strip html, some HTML markup with HTML comment",
}


def cases() -> list[dict[str, Any]]:
    if not SUITE.is_file():
        pytest.skip(f"{SUITE} is missing; GOLDEN_LIQUID can name another place")
    found: list[dict[str, Any]] = json.loads(SUITE.read_text())["tests"]
    return found


def passes(case: dict[str, Any], environment: TemplateEnvironment) -> bool:
    try:
        template = environment.from_string(case["template"])
        text = render_text(template, case.get("data", {}), Recipient(), Budget(60))
    except LiquidError:
        return bool(case.get("invalid"))
    if case.get("invalid"):
        return False
    expected = case.get("results") or [case["result"]]
    if environment.autoescape:
        return html.unescape(text) in map(html.unescape, expected)
    return text in expected


@pytest.mark.parametrize(("part", "more"), [("text", set()), ("html", EXCEPTIONS_IN_HTML)])
def test_all_cases_pass_but_the_exceptions(part: str, more: set[str]) -> None:
    environment = environment_for(part, Undefined.EMPTY)
    failed = {case["name"] for case in cases() if not passes(case, environment)}
    expected = {case["name"] for case in cases() if "templates" in case} | EXCEPTIONS
    assert failed == expected | more


def test_strict_templates_differ_only_in_missing_variables() -> None:
    strict = environment_for("text", Undefined.STRICT)
    lenient = environment_for("text", Undefined.EMPTY)
    for case in cases():
        if not passes(case, strict) and passes(case, lenient):
            with pytest.raises(UndefinedError):
                render_text(
                    strict.from_string(case["template"]), case.get("data", {}), Recipient(), Budget(60)
                )


def test_the_documentation_counts_the_exceptions() -> None:
    text = " ".join((ROOT / "docs/reference/liquid.md").read_text(encoding="utf-8").split())
    found = cases()
    included = sum("templates" in case for case in found)
    assert f"passes {len(found) - included - len(EXCEPTIONS)} of the {len(found)} cases of" in text
    assert f"| {included} cases with `include` and `render` |" in text
    assert all(name in text for name in EXCEPTIONS)
