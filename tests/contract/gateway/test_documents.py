"""The public descriptions of the interface."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest

from gateway.config.contract import built

FILES = [
    ("/openapi.json", "openapi.json", "application/json"),
    ("/docs", "docs.html", "text/html; charset=utf-8"),
    ("/openapi/admin.json", "admin-openapi.json", "application/json"),
    ("/docs/admin", "admin-docs.html", "text/html; charset=utf-8"),
]


@pytest.mark.parametrize(("path", "file", "kind"), FILES)
async def test_documents_need_no_key(client: httpx.AsyncClient, path: str, file: str, kind: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content == built(file).read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "file", "kind"), FILES)
async def test_documents_answer_head_requests(
    client: httpx.AsyncClient, path: str, file: str, kind: str
) -> None:
    answer = await client.head(path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", kind)
    assert answer.headers["content-length"] == str(built(file).stat().st_size)


@pytest.mark.parametrize("path", ["/docs", "/docs/admin"])
async def test_documentation_page_runs_only_its_own_script(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)
    script = page.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert page.headers["content-security-policy"] == policy


async def test_root_leads_to_the_documentation(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, httpx.URL(answer.headers["location"]).path) == (302, "/docs")
    assert (await client.post("/")).status_code == 405
