"""What the protos promise: REST paths with their methods, services, streaming calls.

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

__all__ = ["BATCH_PATH", "Contract", "RestPath", "built", "descriptor_path", "load"]

HTTP: Any = annotations_pb2.http  # its .pyi file predates typed extensions
VERBS = ("get", "put", "post", "delete", "patch")
BATCH_PATH, BATCH_METHOD = ":batch", "Batch"
SEGMENT, REST = "[^/]+", ".+"
VARIABLE = re.compile(r"\{[^}=]+(?:=([^}]+))?\}")


@dataclass(frozen=True, slots=True)
class RestPath:
    """One path of the REST interface: a regular expression for it, and what it takes."""

    regex: str
    methods: tuple[str, ...]
    """Upper case, sorted."""
    body_methods: tuple[str, ...]
    """Those of the methods that take a JSON body."""
    streams: bool = False
    """Whether the answer is a stream without an end."""

    @property
    def is_batch(self) -> bool:
        """Whether a call asks for many things: such paths end so (https://google.aip.dev/231)."""
        return self.regex.endswith(BATCH_PATH)

    @property
    def takes_query(self) -> bool:
        """Whether a query may follow the path.

        Not where the path holds a variable: the transcoder lets `/campaigns/44?campaign_id=55`, in any
        spelling of the name, put 55 in the place of 44. Nor beside a body, all that such a call takes.
        """
        return not self.body_methods and SEGMENT not in self.regex and REST not in self.regex


@dataclass(frozen=True, slots=True)
class Contract:
    """The public interface as the gateway sees it."""

    services: tuple[str, ...]
    """Full names of the services with REST paths."""
    paths: tuple[RestPath, ...]
    streams: tuple[str, ...]
    """gRPC paths of streaming methods."""
    batches: tuple[str, ...]
    """gRPC paths of methods that ask for many things."""


def built(name: str) -> Path:
    """Return where the installed package keeps a file that is built from the protos.

    Raises:
        GatewayError: it is missing.
    """
    path = Path(trigger_pb2.__file__).with_name(name)
    if not path.is_file():
        raise GatewayError(f"{path} is missing: run `make proto`")
    return path


def descriptor_path() -> Path:
    """Return where the installed package keeps its descriptor set."""
    return built("clarion.binpb")


@cache
def load() -> Contract:
    """Read the contract from the descriptor set.

    Raises:
        GatewayError: the descriptor set is missing.
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
    """Group the bindings by path, longer patterns first; with each, whether its answer is a stream."""
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
    """Turn a path template such as `/campaigns/{id}/trigger` into an RE2 expression for whole paths."""
    bare = VARIABLE.sub(lambda found: found.group(1) or "*", template)
    parts = re.split(r"(\*\*?)", bare)
    wild = {"*": SEGMENT, "**": REST}
    return "".join(wild.get(part) or re.escape(part) for part in parts)
