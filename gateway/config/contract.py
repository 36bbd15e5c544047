"""The REST paths, services and streaming methods that the protos define.

Read from the descriptor set's `google.api.http` annotations, so that a newly annotated method needs no
change here (https://github.com/googleapis/googleapis/blob/master/google/api/http.proto).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from clarion.v1 import trigger_pb2

from ..errors import GatewayError

__all__ = [
    "ADMIN_PATH",
    "ADMIN_SERVICES",
    "BATCH_PATH",
    "COLON",
    "Contract",
    "RestPath",
    "built",
    "descriptor_path",
    "gateway_descriptor_path",
    "load",
]

HTTP: Any = annotations_pb2.http  # its .pyi file predates typed extensions
VERBS = ("get", "put", "post", "delete", "patch")
BATCH_PATH, BATCH_METHOD = ":batch", "Batch"
ADMIN_PATH, ADMIN_SERVICES = "/api/admin/", "/clarion.admin."
COLON = "(?::|%3[Aa])"
"""Many URL libraries encode the colon of a custom verb such as `:batch`, as RFC 3986 (2.2) allows."""
ONE_SEGMENT, MANY_SEGMENTS = "[^/]+", ".+"
LITERAL = re.compile("[A-Za-z0-9_/]*")
VARIABLE = re.compile(r"\{[^}=]+(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class RestPath:
    """A path of the REST interface, as a regular expression, with its methods."""

    regex: str
    methods: tuple[str, ...]
    """Upper case, sorted."""
    body_methods: tuple[str, ...]
    """The methods that accept a JSON body."""
    streams: bool = False
    """Whether the response is an endless stream."""

    @property
    def beginning(self) -> str:
        """What all its paths begin with: the expression up to the first character that may not be literal."""
        return LITERAL.match(self.regex)[0]  # type: ignore[index]  # it matches every text

    @property
    def is_batch(self) -> bool:
        """Whether it is the path of a batch method (https://google.aip.dev/231)."""
        return self.regex.endswith(BATCH_PATH.replace(":", COLON))

    @property
    def is_admin(self) -> bool:
        """Whether it belongs to the admin API, which has its own keys."""
        return self.regex.startswith(ADMIN_PATH)

    @property
    def has_verb(self) -> bool:
        """Whether it ends with a custom verb (https://google.aip.dev/136)."""
        return COLON in self.regex

    @property
    def accepts_head(self) -> bool:
        """Whether HEAD gets the headers of GET. Those of a stream cannot be sent without its events."""
        return "GET" in self.methods and not self.streams

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods of the header `allow`."""
        return tuple(sorted({*self.methods, *(("HEAD",) if self.accepts_head else ())}))

    @property
    def methods_without_query(self) -> tuple[str, ...]:
        """The methods that do not accept a query: those that accept a body."""
        return self.body_methods

    @property
    def has_variable(self) -> bool:
        """Whether the path has a variable."""
        return ONE_SEGMENT in self.regex or MANY_SEGMENTS in self.regex


@dataclass(frozen=True, slots=True)
class Contract:
    """The public interface as the gateway sees it."""

    services: tuple[str, ...]
    """Full names of the services with REST paths."""
    paths: tuple[RestPath, ...]
    streams: tuple[str, ...]
    """gRPC paths of streaming methods."""
    batches: tuple[str, ...]
    """gRPC paths of batch methods."""


def built(name: str) -> Path:
    """Return the path of a file that is built from the protos.

    Raises:
        GatewayError: It is missing.
    """
    path = Path(trigger_pb2.__file__).with_name(name)
    if not path.is_file():
        raise GatewayError(f"{path} is missing: run `make proto`")
    return path


def descriptor_path() -> Path:
    """Return the path of the descriptor set."""
    return built("clarion.binpb")


def gateway_descriptor_path() -> Path:
    """Return the path of the descriptor set for the transcoder (`protos/generate/raw_bodies.py`)."""
    return built("gateway.binpb")


@cache
def load() -> Contract:
    """Read the contract from the descriptor set.

    Raises:
        GatewayError: The descriptor set is missing.
    """
    described = descriptor_pb2.FileDescriptorSet.FromString(descriptor_path().read_bytes())
    methods = [
        (f"{file.package}.{service.name}", method)
        for file in described.file
        for service in file.service
        for method in service.method
    ]
    bindings = [(name, method, rule) for name, method in methods for rule in _rules(method)]
    return Contract(
        services=tuple(sorted({name for name, _, _ in bindings})),
        paths=_paths((rule, _streams(method)) for _, method, rule in bindings),
        streams=tuple(f"/{name}/{method.name}" for name, method in methods if _streams(method)),
        batches=tuple(
            f"/{name}/{method.name}" for name, method in methods if method.name.startswith(BATCH_METHOD)
        ),
    )


def _streams(method: descriptor_pb2.MethodDescriptorProto) -> bool:
    return method.client_streaming or method.server_streaming


def _rules(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[http_pb2.HttpRule]:
    """Yield the method's REST bindings."""
    if method.options.HasExtension(HTTP):
        rule: http_pb2.HttpRule = method.options.Extensions[HTTP]
        yield rule
        yield from rule.additional_bindings


def _paths(rules: Iterator[tuple[http_pb2.HttpRule, bool]]) -> tuple[RestPath, ...]:
    """Group the bindings by path, longest pattern first.

    Args:
        rules: Each binding, and whether its response is a stream.
    """
    methods: dict[str, set[str]] = {}
    bodies: dict[str, set[str]] = {}
    streams: set[str] = set()
    for rule, streaming in rules:
        verb, template = _verb_and_template(rule)
        regex = path_regex(template)
        methods.setdefault(regex, set()).add(verb)
        streams |= {regex} if streaming else set()
        if rule.body:
            bodies.setdefault(regex, set()).add(verb)
    ordered = sorted(methods, key=lambda regex: (-len(regex), regex))
    return tuple(
        RestPath(regex, tuple(sorted(methods[regex])), tuple(sorted(bodies.get(regex, ()))), regex in streams)
        for regex in ordered
    )


def _verb_and_template(rule: http_pb2.HttpRule) -> tuple[str, str]:
    """Return the HTTP method, upper case, and the path template of a binding."""
    pattern = rule.WhichOneof("pattern")
    if pattern in VERBS:
        return str(pattern).upper(), str(getattr(rule, str(pattern)))
    return rule.custom.kind.upper(), rule.custom.path


def path_regex(template: str) -> str:
    """Convert a path template such as `/campaigns/{id}/trigger` to an RE2 expression for whole paths."""
    bare = VARIABLE.sub(lambda found: found.group(1) or "*", template)
    parts = re.split(r"(\*\*?)", bare)
    wild = {"*": ONE_SEGMENT, "**": MANY_SEGMENTS}
    return "".join(wild.get(part) or re.escape(part).replace(":", COLON) for part in parts)
