"""The descriptor set: services, messages, enums, their comments and options, and REST bindings."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    EnumValueDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)

from clarion.v1 import options_pb2

__all__ = [
    "ADMIN",
    "CLIENT",
    "Binding",
    "Described",
    "bindings",
    "example_of",
    "examples_of",
    "holds_json",
    "is_always_present",
    "load",
    "prose",
    "sentence",
]

Named: TypeAlias = (
    Descriptor | EnumDescriptor | EnumValueDescriptor | FieldDescriptor | MethodDescriptor | ServiceDescriptor
)
Path_: TypeAlias = tuple[int, ...]

DESCRIPTORS = Path(__file__).parents[1] / "clarion/v1/clarion.binpb"
CLIENT, ADMIN = "clarion.v1", "clarion.admin.v1"
"""The packages of the API for callers and of that for operators."""
HTTP: Any = annotations_pb2.http  # its .pyi file predates typed extensions
ALWAYS_PRESENT: Any = options_pb2.always_present
EXAMPLE: Any = options_pb2.example
JSON_OBJECT: Any = options_pb2.json_object
VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]+)?\}")
NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_BOOL,
}
VERBS = ("get", "put", "post", "delete", "patch")
# Comments start with the symbol's name, as is usual in Go. Next to the name they read better without it.
NAME_AND_VERB = r"(?::| is| are| means that| means)? "


@dataclass(frozen=True, slots=True)
class Described:
    """The proto files of one API, and the comments of all files by full name.

    Attributes:
        files: The files of its package, and after them those of the packages that these may use.
        comments: The comments.
        package: The package of its services.
    """

    files: Sequence[FileDescriptor]
    comments: Mapping[str, str]
    package: str = CLIENT

    @property
    def is_admin(self) -> bool:
        """Whether it is the API for operators."""
        return self.package == ADMIN

    @property
    def services(self) -> list[ServiceDescriptor]:
        """All services, TriggerService first."""
        own = [file for file in self.files if file.package == self.package]
        found = [service for file in own for service in file.services_by_name.values()]
        return sorted(found, key=lambda service: (service.name != "TriggerService", service.name))

    def message(self, name: str) -> Descriptor:
        """Return one of our messages by its name without the package."""
        return next(f.message_types_by_name[name] for f in self.files if name in f.message_types_by_name)

    def enum(self, name: str) -> EnumDescriptor:
        """Return one of our enums by its name without the package."""
        return next(f.enum_types_by_name[name] for f in self.files if name in f.enum_types_by_name)

    def comment(self, symbol: Named) -> str:
        """Return a symbol's comment without the leading name.

        Raises:
            LookupError: The symbol has no comment.
        """
        name = _full_name(symbol)
        if not self.comments.get(name):
            raise LookupError(f"{name} has no comment")
        return prose(self.comments[name], symbol.name)


@dataclass(frozen=True, slots=True)
class Binding:
    """One REST call and the method that serves it."""

    service: ServiceDescriptor
    method: MethodDescriptor
    verb: str
    """Lower case, as in OpenAPI."""
    path: str
    """With variables in braces, such as `{trigger_id}`."""
    body: str
    """The field that holds the body; `*` for the whole message; empty without a body."""

    @property
    def variables(self) -> list[str]:
        """The fields that are in the path."""
        return VARIABLE.findall(self.path)


@cache
def load(package: str = CLIENT) -> Described:
    """Return the descriptor set that protoc wrote, and the stubs next to it.

    Args:
        package: Whose API: `CLIENT` or `ADMIN`.
    """
    described = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    packages = {CLIENT: (CLIENT,), ADMIN: (ADMIN, CLIENT)}[package]
    names = [file.name for one in packages for file in described.file if file.package == one]
    modules = [
        importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2") for name in names
    ]
    comments = {name: text for file in described.file for name, text in _comments(file)}
    return Described([module.DESCRIPTOR for module in modules], comments, package)


def bindings(described: Described) -> Iterator[Binding]:
    """Yield all REST calls, service by service."""
    for service in described.services:
        for method in service.methods:
            options = method.GetOptions()
            if options.HasExtension(HTTP):
                rule = options.Extensions[HTTP]
                for one in (rule, *rule.additional_bindings):
                    verb = one.WhichOneof("pattern")
                    if verb not in VERBS:
                        raise NotImplementedError(f"{method.full_name}: the HTTP method {verb}")
                    path = VARIABLE.sub(r"{\1}", getattr(one, verb))
                    yield Binding(service, method, verb, path, one.body)


def example_of(field: FieldDescriptor) -> Any:
    """Return the example of a field, as in the JSON of its message; of a boolean without one, `true`.

    Raises:
        LookupError: The field has no option `example`.
    """
    text = field.GetOptions().Extensions[EXAMPLE]
    if not text and field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if not text:
        raise LookupError(f"{field.full_name} needs the option (example)")
    value = json.loads(text) if holds_json(field) or field.cpp_type in NUMBERS else text
    return [value] if field.is_repeated else value


def examples_of(message: Descriptor) -> dict[str, Any]:
    """Return the examples of a message's fields, of those that have one."""
    return {
        field.name: example_of(field) for field in message.fields if field.GetOptions().HasExtension(EXAMPLE)
    }


def holds_json(field: FieldDescriptor) -> bool:
    """Return whether a field holds a JSON object as text."""
    return bool(field.GetOptions().Extensions[JSON_OBJECT])


def is_always_present(field: FieldDescriptor) -> bool:
    """Return whether a field of a response is never empty."""
    return bool(field.GetOptions().Extensions[ALWAYS_PRESENT])


def prose(comment: str, name: str) -> str:
    """Return a comment's paragraphs, each on one line, without the leading name of its symbol."""
    blocks = [_unwrapped(block) for block in re.split(r"\n\s*\n", comment)]
    text = re.sub(rf"^{re.escape(name)}{NAME_AND_VERB}", "", "\n\n".join(blocks))
    return text[:1].upper() + text[1:]


def sentence(text: str) -> tuple[str, str]:
    """Return the first sentence, and the rest."""
    first, _, rest = text.replace("\n\n", " ").partition(". ")
    return first.rstrip(".") + ".", rest


def _unwrapped(block: str) -> str:
    """Join the lines of a paragraph, but not those of code, which is indented by four spaces."""
    lines = block.strip("\n").splitlines()
    if all(line.startswith("    ") for line in lines):
        return "\n".join(lines)
    return " ".join(line.strip() for line in lines)


def _full_name(symbol: Named) -> str:
    if isinstance(symbol, EnumValueDescriptor):
        return f"{symbol.type.full_name}.{symbol.name}"
    return symbol.full_name


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield the full name and the comment of each symbol that has a comment."""
    names = dict(_names(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name and location.leading_comments:
            lines = location.leading_comments.splitlines()
            yield name, "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip("\n")


def _names(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[Path_, str]]:
    """Yield each symbol's path, as in SourceCodeInfo of descriptor.proto, and its full name."""
    for number, message in enumerate(file.message_type):
        yield from _names_in_message((4, number), f"{file.package}.{message.name}", message)
    for number, enum in enumerate(file.enum_type):
        yield from _names_in_enum((5, number), f"{file.package}.{enum.name}", enum)
    for number, service in enumerate(file.service):
        yield (6, number), f"{file.package}.{service.name}"
        for place, method in enumerate(service.method):
            yield (6, number, 2, place), f"{file.package}.{service.name}.{method.name}"


def _names_in_message(
    path: Path_, name: str, message: descriptor_pb2.DescriptorProto
) -> Iterator[tuple[Path_, str]]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, 2, number), f"{name}.{field.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _names_in_message((*path, 3, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _names_in_enum((*path, 4, number), f"{name}.{enum.name}", enum)


def _names_in_enum(
    path: Path_, name: str, enum: descriptor_pb2.EnumDescriptorProto
) -> Iterator[tuple[Path_, str]]:
    yield path, name
    for number, value in enumerate(enum.value):
        yield (*path, 2, number), f"{name}.{value.name}"
