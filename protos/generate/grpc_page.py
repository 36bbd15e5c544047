"""docs/reference/grpc.md, from the protos."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from .described import Described, bindings
from .examples import BODIES
from .openapi import scope_of
from .rules import rules_of

__all__ = ["render"]

HEAD = """\
# gRPC

<!-- Made by `make proto` from the protos. -->

The gateway's one port speaks gRPC beside REST: `127.0.0.1:8080` unless configured otherwise.
Each call carries an API key as metadata, `authorization: Bearer sk_…`, and should carry a deadline. A request
may have 256 KiB, a batch 2 MiB, the metadata 12 KiB. Errors are those of REST, with the same code, message
and details: [errors.md](errors.md).
gRPC-Web, binary and text, is spoken too, for programs without HTTP/2. Browsers are not let in (no CORS): a
key in a browser is a key given away. With `[gateway] tls_certificate` the port speaks
[TLS](../how-to/use-tls.md) only; then leave `-plaintext` out below.

With [grpcurl](https://github.com/fullstorydev/grpcurl), which asks the server's reflection for the protos:

```sh
export KEY=$(cat .clarion/demo-key)
grpcurl -plaintext 127.0.0.1:8080 list
grpcurl -plaintext 127.0.0.1:8080 describe clarion.v1.TriggerService
grpcurl -plaintext -H "authorization: Bearer $KEY" \\
  -d '{request}' \\
  127.0.0.1:8080 clarion.v1.TriggerService/TriggerEmail
```

Where reflection is switched off, add `-protoset protos/clarion/v1/clarion.binpb`. Health is
`grpc.health.v1.Health`, for each service below by its full name, and needs no key.

| service | scope | methods |
|---|---|---|
"""
NAMES_OF_TYPES = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}
OURS = "clarion."


def render(described: Described) -> str:
    """Return the page."""
    email = BODIES["email"]
    event = json.dumps(email["event"])
    request = json.dumps({"campaign_id": 44, "user": email["user"], "event": event})
    rows = [_service_row(described, service) for service in described.services]
    parts = [HEAD.format(request=request) + "\n".join(rows)]
    shown: set[str] = set()
    for service in described.services:
        parts += _service(described, service, shown)
    return "\n\n".join(parts) + "\n"


def _service_row(described: Described, service: ServiceDescriptor) -> str:
    methods = ", ".join(f"[{method.name}](#{method.name.lower()})" for method in service.methods)
    return f"| `{service.full_name}` | `{scope_of(described, service)}` | {methods} |"


def _service(described: Described, service: ServiceDescriptor, shown: set[str]) -> Iterator[str]:
    """Yield a service's methods, each with the messages and enums that were not shown before."""
    yield f"## {service.name}"
    yield described.comment(service)
    for method in service.methods:
        yield f"### {method.name}"
        yield _signature(described, method)
        yield described.comment(method)
        for kind in _reached(method):
            if kind.full_name not in shown:
                shown.add(kind.full_name)
                yield _message(described, kind) if isinstance(kind, Descriptor) else _enum(described, kind)


def _signature(described: Described, method: MethodDescriptor) -> str:
    rest = [f"{one.verb.upper()} {one.path}" for one in bindings(described) if one.method is method]
    over = "".join(f" · over REST `{one}`" for one in rest)
    name = f"{method.containing_service.full_name}/{method.name}"
    stream = "stream of " if method.server_streaming else ""
    gone = " · deprecated" if method.GetOptions().deprecated else ""
    return f"`{name}` · {_link(method.input_type)} → {stream}{_link(method.output_type)}{over}{gone}"


def _reached(method: MethodDescriptor) -> list[Descriptor | EnumDescriptor]:
    """Return the request, the answer, and all of ours that they hold, in the order of reading."""
    found: list[Descriptor | EnumDescriptor] = []
    waiting: list[Descriptor | EnumDescriptor] = [method.input_type, method.output_type]
    while waiting:
        kind = waiting.pop(0)
        if kind in found or not kind.full_name.startswith(OURS):
            continue
        found.append(kind)
        if isinstance(kind, Descriptor):
            waiting += [inner for field in kind.fields if (inner := field.message_type or field.enum_type)]
    return found


def _message(described: Described, message: Descriptor) -> str:
    head = ["", "| field | type | rules | |", "|---|---|---|---|"] if message.fields else []
    rows = [_field(described, field) for field in message.fields]
    return "\n".join([_title(message), "", described.comment(message), *head, *rows])


def _field(described: Described, field: FieldDescriptor) -> str:
    rules = ", ".join(rules_of(field).words)
    comment = described.comment(field).replace("\n\n", " ")
    cells = (f"`{field.name}` = {field.number}", _type(field), rules, comment)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(field: FieldDescriptor) -> str:
    kind = field.message_type or field.enum_type
    name = _link(kind) if kind is not None else NAMES_OF_TYPES[field.type]
    return f"repeated {name}" if field.is_repeated else name


def _enum(described: Described, enum: EnumDescriptor) -> str:
    values = [f"| `{value.name}` = {value.number} | {described.comment(value)} |" for value in enum.values]
    return "\n".join([_title(enum), "", described.comment(enum), "", "| value | |", "|---|---|", *values])


def _title(kind: Descriptor | EnumDescriptor) -> str:
    return f"#### {kind.name}"


def _link(kind: Descriptor | EnumDescriptor) -> str:
    """Return the name of a message or enum; those shown on this page are links."""
    if kind.full_name.startswith(OURS):
        return f"[{kind.name}](#{kind.name.lower()})"
    return f"`{kind.full_name}`"
