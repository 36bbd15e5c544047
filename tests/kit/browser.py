"""A browser, pages in it, and the check that every page must pass."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

__all__ = ["SCREENSHOTS", "check_page", "new_page", "running_browser", "screenshot"]

_ROOT = Path(__file__).parents[2]
_AXE = _ROOT / ".browser" / "node_modules" / "axe-core" / "axe.min.js"
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = _ROOT / "docs" / "images"
_NARROWEST = 320
"""CSS pixels in which a page must fit: a phone, or 1280 pixels at 400 % (WCAG 1.4.10)."""
_WIDE = {"width": 1100, "height": 800}
_errors: dict[Page, list[str]] = {}


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run Debian's Chromium during the block, or skip the test before anything else is started for it."""
    if _CHROMIUM is None:
        _skip("chromium is not installed; tools/browser.sh says how")
    if not _AXE.exists():
        _skip("axe-core is not installed; run tools/browser.sh")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=options)
        yield browser
        await browser.close()


# Responses with an error status, which tests provoke, and what the frames of messages do not run or load.
_EXPECTED = ("Failed to load resource", "because the document's frame is sandboxed", '"img-src data:"')


async def new_page(context: BrowserContext) -> Page:
    """Open a page whose errors `check_page` reports."""
    page = await context.new_page()
    errors = _errors[page] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in _EXPECTED):
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


async def check_page(page: Page) -> None:
    """Check what every page of the portal must be: titled, accessible, without errors, with a way back."""
    assert _errors[page] == []
    heading = (await page.locator("h1").inner_text()).strip()
    assert heading
    assert await page.title() == f"{heading} | Clarion"
    assert await page.locator("a.brand").count() == 1
    await _check_reflow(page)
    await _check_accessibility(page, "{}")
    await page.emulate_media(color_scheme="dark")
    await _check_accessibility(page, "{runOnly: ['color-contrast']}")
    await page.emulate_media(color_scheme="light")
    assert _errors[page] == []


async def screenshot(page: Page, name: str) -> None:
    """Write a picture for the documentation, if SCREENSHOTS_TO_DOCS is set."""
    if os.environ.get("SCREENSHOTS_TO_DOCS"):
        SCREENSHOTS.mkdir(exist_ok=True)
        await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def _check_reflow(page: Page) -> None:
    size = page.viewport_size or _WIDE
    await page.set_viewport_size({"width": _NARROWEST, "height": 640})
    wide = await page.evaluate(_WIDER, _NARROWEST)
    assert not wide, f"wider than {_NARROWEST} pixels: {wide}"
    scrolling = await page.evaluate(_SCROLLING)
    assert not scrolling, f"tables that scroll on a phone: {scrolling}"
    await page.set_viewport_size({"width": size["width"], "height": size["height"]})


async def _check_accessibility(page: Page, options: str) -> None:
    """Run axe-core with these options."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(_AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate(f"() => axe.run({options})")
    problems = [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert problems == []


def _skip(reason: str) -> None:
    """Skip the test, or fail it where a browser is required, as in CI."""
    if "browser" in os.environ.get("TESTS_NEED", ""):
        pytest.fail(f"this test must not be skipped here: {reason}")
    pytest.skip(reason)


_SCROLLING = """() => [...document.querySelectorAll(".scroll:has([data-labels])")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.getAttribute("aria-label"))"""
_WIDER = """(most) => {
  if (document.scrollingElement.scrollWidth <= most) { return []; }
  const wide = [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > most + 1);
  const free = wide.filter((one) => !one.closest(".scroll"));
  return (free.length ? free : wide).map((one) => one.outerHTML.slice(0, 120));
}"""
