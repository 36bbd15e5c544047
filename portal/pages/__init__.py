"""The pages: one module per subject, each with its `PAGES` and its entry `SECTION` in the navigation."""

from __future__ import annotations

from ..visit import Page, Section
from . import (
    access,
    audit,
    campaigns,
    deliveries,
    frames,
    keys,
    operations,
    overview,
    projects,
    providers,
    sending,
    suppressions,
    try_it,
    webhooks,
)

__all__ = ["FRAMES", "NAVIGATION", "PAGES"]

_SUBJECTS = (
    overview,
    deliveries,
    campaigns,
    suppressions,
    webhooks,
    providers,
    keys,
    projects,
    access,
    audit,
    try_it,
)
"""In the order of the navigation. A new subject is one line here."""

NAVIGATION: tuple[Section, ...] = tuple(subject.SECTION for subject in _SUBJECTS)
_UNLISTED = (operations, sending)
PAGES: tuple[Page, ...] = tuple(page for subject in (*_SUBJECTS, *_UNLISTED) for page in subject.PAGES)
FRAMES = frames.FRAMES
