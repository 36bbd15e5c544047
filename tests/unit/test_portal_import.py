"""Imports of suppressions in the portal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import FormData

from portal.forms import Form
from portal.pages import suppression_import


async def test_large_files_do_not_stop_other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def read(text: str, required: object) -> Iterator[Any]:
        threads.append(threading.current_thread())
        return iter(())

    monkeypatch.setattr(suppression_import, "csv_rows", read)
    form = Form(FormData([("csv", "channel,address")]))
    visit: Any = SimpleNamespace(
        form=form, project="demo", require=lambda _: None, page=lambda *_, **__: None
    )
    await suppression_import.import_suppressions(visit)
    assert form.status == 422
    assert threads
    assert threading.main_thread() not in threads
