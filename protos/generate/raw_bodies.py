"""Changes the descriptor set for the gateway, so that JSON bodies reach the server as they were sent.

Envoy's transcoder silently drops unknown fields of a JSON body, rounds integers above 2^53, and words errors
itself. The server decodes bodies instead (`server/intake/rest_message.py`). For that, each message that is a
REST body as a whole (`body: "*"`) gets one more field, a `google.api.HttpBody`, which becomes the body of the
binding. Only the gateway sees this field. The server finds it among the unknown ones.
"""

from __future__ import annotations

from typing import Any

from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2

__all__ = ["NUMBER", "with_raw_bodies"]

NUMBER = 536_870_911
"""The largest number that a field can have; RAW_BODY in `server/intake/rest_message.py`."""
_NAME = "http_body"
_HTTP: Any = annotations_pb2.http  # its .pyi file predates typed extensions
_HTTP_BODY = "google/api/httpbody.proto"
_FIRST = ("google/protobuf/any.proto", _HTTP_BODY)


def with_raw_bodies(described: bytes) -> bytes:
    """Return a descriptor set for the gateway: without comments, and with a field for each typed body.

    Raises:
        ValueError: A binding has a body other than `"*"` or a `google.api.HttpBody`.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(described)
    messages = {
        f".{file.package}.{message.name}": (file, message)
        for file in files.file
        for message in file.message_type
    }
    for file in files.file:
        file.ClearField("source_code_info")
        for method in (method for service in file.service for method in service.method):
            _change(method, messages)
    _put_first(files)
    return files.SerializeToString(deterministic=True)


def _change(method: descriptor_pb2.MethodDescriptorProto, messages: dict[str, Any]) -> None:
    if not method.options.HasExtension(_HTTP):
        return
    rule = method.options.Extensions[_HTTP]
    file, message = messages[method.input_type]
    if any(binding.body for binding in rule.additional_bindings):
        raise ValueError(f"{method.name}: Envoy supports a body only in the first binding")
    if not rule.body or _is_http_body(message, rule.body):
        return
    if rule.body != "*":
        raise ValueError(f'{method.name}: the body must be "*" or a google.api.HttpBody')
    rule.body = _NAME
    if all(field.number != NUMBER for field in message.field):
        _add_field(file, message)


def _is_http_body(message: descriptor_pb2.DescriptorProto, name: str) -> bool:
    kinds = {field.name: field.type_name for field in message.field}
    return kinds.get(name) == f".{httpbody_pb2.HttpBody.DESCRIPTOR.full_name}"


def _add_field(file: descriptor_pb2.FileDescriptorProto, message: descriptor_pb2.DescriptorProto) -> None:
    kind = descriptor_pb2.FieldDescriptorProto
    message.field.add(
        name=_NAME,
        json_name=_NAME,
        number=NUMBER,
        type=kind.TYPE_MESSAGE,
        label=kind.LABEL_OPTIONAL,
        type_name=f".{httpbody_pb2.HttpBody.DESCRIPTOR.full_name}",
    )
    if _HTTP_BODY not in file.dependency:
        file.dependency.append(_HTTP_BODY)


def _put_first(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Move the files that every changed file imports to the start: a file must follow what it imports."""
    ordered = sorted(
        files.file, key=lambda file: _FIRST.index(file.name) if file.name in _FIRST else len(_FIRST)
    )
    copies = [descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString()) for file in ordered]
    files.ClearField("file")
    files.file.extend(copies)
