"""Where traces are sent: OpenTelemetry's environment variables, which are the only settings of tracing.

Traces are on if an endpoint is set, or if OTEL_TRACES_EXPORTER is `otlp`. All processes read the same
variables. Their meaning is that of the specification
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and, next to it,
protocol/exporter).
A variable for traces alone, such as OTEL_EXPORTER_OTLP_TRACES_HEADERS, overrides the one for all signals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["Otlp", "OtlpProblem", "otlp_problem", "read_otlp", "usable_otlp"]

T = TypeVar("T")

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
EXPORTER, DISABLED = "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
BATCH, QUEUE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"
_DEFAULT_ENDPOINT = "http://localhost:4318"
_PATH = "/v1/traces"
_OFF, _RATIO = "always_off", "parentbased_traceidratio"
_SAMPLERS = ("parentbased_always_on", "parentbased_always_off", _RATIO, _OFF)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
_MOST = 10_000_000


class OtlpProblem(Exception):
    """A variable has a value that cannot be used; the text names each such variable, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Otlp:
    """The collector, and which traces it gets."""

    endpoint: str
    """The URL to which spans are posted."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of each post, such as a key."""
    timeout: float = 10.0
    """Seconds that one post may take."""
    ratio: float = 1.0
    """Share of the calls without a trace context that are traced. For the others, their caller decides."""
    compress: bool = False
    """Whether servers and dispatchers compress their spans; the gateway cannot."""
    certificate: str = ""
    """PEM file of certificate authorities to trust instead of those of the package certifi."""
    client_certificate: str = ""
    client_key: str = ""
    service_name: str = ""
    """The name of the service; empty for the default, which differs between the processes."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Attributes of the resource."""
    queue: int = 2048
    """Spans that wait in one process until they are sent; more are dropped."""
    batch: int = 512
    """Spans in one post."""
    delay: float = 5.0
    """Seconds between two posts."""

    @property
    def url(self) -> SplitResult:
        """The endpoint, parsed."""
        return urlsplit(self.endpoint)

    @property
    def host(self) -> str:
        """The collector's host."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """The collector's port."""
        return self.url.port or (443 if self.url.scheme == "https" else 80)


def usable_otlp(environ: Mapping[str, str] = os.environ) -> Otlp | None:
    """Return where traces are sent; None if they are off, or if a variable is invalid."""
    try:
        return read_otlp(environ)
    except OtlpProblem:
        return None


def otlp_problem(environ: Mapping[str, str] = os.environ) -> str:
    """Return the warning for an operator who wants traces but set an invalid variable, or an empty text."""
    try:
        read_otlp(environ)
    except OtlpProblem as problem:
        return f"traces are off: {problem}"
    return ""


def read_otlp(environ: Mapping[str, str] = os.environ) -> Otlp | None:
    """Return where traces are sent, or None if they are off.

    Raises:
        OtlpProblem: A variable is invalid.
    """
    given = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_")}
    wanted = given.get(TRACES_ENDPOINT) or given.get(ENDPOINT) or given.get(EXPORTER, "").lower() == "otlp"
    disabled = given.get(DISABLED, "").lower() == "true"
    off = given.get(EXPORTER, "").lower() == "none" or given.get(SAMPLER, "").lower() == _OFF
    if not wanted or disabled or off:
        return None
    reader = _Reader({name: value for name, value in given.items() if value})
    found = reader.read()
    if reader.problems:
        raise OtlpProblem("; ".join(reader.problems))
    return found


class _Reader:
    """Reads variables, and collects what is wrong with them.

    Args:
        given: The variables that are not empty.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self.problems: list[str] = []

    def read(self) -> Otlp:
        """Return the settings; invalid ones have their defaults."""
        self._one_of(EXPORTER, ("otlp",), "otlp")
        self._one_of(self._name("PROTOCOL"), ("http/protobuf",), "http/protobuf")
        queue = self._number(QUEUE, 2048)
        batch = self._number(BATCH, min(512, queue))
        if batch > queue:
            self.problems.append(f"{BATCH}: {batch} must be at most {queue}, the value of {QUEUE}")
        certificate, key = self._file("CLIENT_CERTIFICATE"), self._file("CLIENT_KEY")
        if bool(certificate) != bool(key):
            self.problems.append(
                f"{self._name('CLIENT_CERTIFICATE')} and {self._name('CLIENT_KEY')}: set both, or neither"
            )
        return Otlp(
            endpoint=self._endpoint(),
            headers=self._parsed(self._name("HEADERS"), _headers, {}),
            timeout=self._number(self._name("TIMEOUT"), 10_000) / 1000,
            ratio=self._ratio(),
            compress=self._one_of(self._name("COMPRESSION"), ("none", "gzip"), "none") == "gzip",
            certificate=self._file("CERTIFICATE"),
            client_certificate=certificate,
            client_key=key,
            service_name=self._given.get("OTEL_SERVICE_NAME", ""),
            attributes=self._parsed("OTEL_RESOURCE_ATTRIBUTES", _pairs, {}),
            queue=queue,
            batch=batch,
            delay=self._number("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        )

    def _name(self, what: str) -> str:
        """Return the variable of the exporter to read: the one for traces, if it is set."""
        special = f"OTEL_EXPORTER_OTLP_TRACES_{what}"
        return special if special in self._given else f"OTEL_EXPORTER_OTLP_{what}"

    def _endpoint(self) -> str:
        if TRACES_ENDPOINT in self._given:
            return self._parsed(TRACES_ENDPOINT, _url, "")
        base = self._parsed(ENDPOINT, _url, _DEFAULT_ENDPOINT)
        return base.removesuffix("/") + _PATH

    def _ratio(self) -> float:
        sampler = self._one_of(SAMPLER, _SAMPLERS, _SAMPLERS[0])
        if sampler == _RATIO:
            return self._parsed(SAMPLER_ARG, _share, 1.0)
        return 0.0 if sampler == "parentbased_always_off" else 1.0

    def _one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self._given.get(name, default).lower()
        if value not in allowed:
            self.problems.append(f"{name}: {value!r} must be {' or '.join(allowed)}")
        return value

    def _number(self, name: str, default: int) -> int:
        return self._parsed(name, _positive, default)

    def _file(self, what: str) -> str:
        return self._parsed(self._name(what), _readable, "")

    def _parsed(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the value of a variable. Headers, and URLs with a user or query, are not quoted."""
        value = self._given.get(name, "")
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            is_secret = "HEADERS" in name or ("ENDPOINT" in name and not {"@", "?"}.isdisjoint(value))
            shown = "" if is_secret else f"{value!r} "
            self.problems.append(f"{name}: {shown}{error}")
            return default


def _url(text: str) -> str:
    problem = ValueError("must be a URL such as http://localhost:4318, without a user name or a query")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise problem from None
    extra = url.username or url.query or url.fragment
    if url.scheme not in {"http", "https"} or not url.hostname or extra or not text.isascii():
        raise problem
    return text


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:10]) <= _MOST:
        raise ValueError(f"must be a whole number from 1 to {_MOST}")
    return int(text)


def _share(text: str) -> float:
    problem = ValueError("must be a number from 0 to 1")
    try:
        share = float(text)
    except ValueError:
        raise problem from None
    if not 0 <= share <= 1:
        raise problem
    return share


def _readable(text: str) -> str:
    try:
        with open(text, encoding="ascii"):  # noqa: PTH123 - only whether it can be opened
            return text
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def _pairs(text: str) -> dict[str, str]:
    """Parse `name=value,name=value` with percent-encoded values."""
    pairs = {}
    for one in filter(None, map(str.strip, text.split(","))):
        name, sign, value = one.partition("=")
        if not sign or not name.strip():
            raise ValueError("must be name=value pairs, separated by commas")
        pairs[unquote(name.strip())] = unquote(value.strip())
    return pairs


def _headers(text: str) -> dict[str, str]:
    pairs = _pairs(text)
    for name, value in pairs.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError("must be name=value pairs that HTTP headers can have, separated by commas")
    return {name.lower(): value for name, value in pairs.items()}
