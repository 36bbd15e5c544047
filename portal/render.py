"""Renders templates. All values are escaped; there is no other way to put one into a page."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .words import label_of, provider_of

__all__ = ["StaticFiles", "environment", "moment"]

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """Style sheet and scripts, in memory. Their URLs contain a hash of their content, so browsers keep them.

    Args:
        base: The path under which the portal is reached.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._files = {path.name: path.read_bytes() for path in sorted((_HERE / "static").iterdir())}
        self._hashes = {name: hashlib.sha256(raw).hexdigest()[:12] for name, raw in self._files.items()}

    def url(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self._base}/static/{self._hashes[name]}/{name}"

    async def serve(self, request: Request) -> Response:
        """Serve a file.

        Raises:
            HTTPException: It does not exist, or not with this content.
        """
        name = request.path_params["name"]
        if self._hashes.get(name) != request.path_params["hash"]:
            raise HTTPException(404)
        headers = {"cache-control": _FOREVER}
        return Response(self._files[name], media_type=_TYPES[Path(name).suffix], headers=headers)


def environment(**values: Any) -> Environment:
    """Return the templates.

    Args:
        values: What all of them can use.
    """
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters["label"] = label_of
    found.filters["provider"] = provider_of
    found.filters["moment"] = moment
    found.filters["number"] = _number
    found.filters["duration"] = _duration
    found.globals.update(values)
    return found


def moment(value: Timestamp | dt.datetime | None) -> Mapping[str, str] | None:
    """Return a time for machines and for people; None for a missing or empty one."""
    if value is None:
        return None
    if isinstance(value, Timestamp):
        if not value.seconds and not value.nanos:
            return None
        value = value.ToDatetime(dt.UTC)
    utc = value.astimezone(dt.UTC)
    return {
        "machine": utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "short": f"{utc.day} {utc:%b %Y, %H:%M} UTC",
        "precise": f"{utc.day} {utc:%b %Y, %H:%M:%S} UTC",
        "exact": f"{utc:%Y-%m-%d %H:%M:%S} UTC",
    }


def _number(value: float) -> str:
    """Return a number with separators of thousands."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def _duration(seconds: float) -> str:
    """Return a duration in its largest unit, such as `3 min`."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    for limit, size, unit in ((100, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{_number(round(seconds / size, 1))} {unit}"
    return f"{_number(round(seconds / 86_400, 1))} days"
