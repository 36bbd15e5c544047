"""The descriptor set, from which callers in other languages build their stubs."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from gateway.config.contract import descriptor_path


def test_protoc_needs_only_the_descriptor_set(tmp_path: Path) -> None:
    described = descriptor_pb2.FileDescriptorSet.FromString(descriptor_path().read_bytes())
    files = [file.name for file in described.file if file.name.startswith(("clarion/", "buf/"))]
    assert "buf/validate/validate.proto" in files
    options = [f"--descriptor_set_in={descriptor_path()}", f"--python_out={tmp_path}"]

    assert protoc.main(["protoc", *options, f"--grpc_python_out={tmp_path}", *files]) == 0

    for name in files:
        assert (tmp_path / name.replace(".proto", "_pb2.py")).exists()


@pytest.mark.parametrize(
    ("folder", "go", "java"),
    [
        ("clarion/v1/", "clarion/v1;clarionv1", "com.clarion.v1"),
        ("clarion/admin/v1/", "clarion/admin/v1;clarionadminv1", "com.clarion.admin.v1"),
    ],
)
def test_stubs_of_go_and_java_are_one_package(folder: str, go: str, java: str) -> None:
    """Without `go_package`, protoc-gen-go fails; in one package, the files import nothing from each other."""
    described = descriptor_pb2.FileDescriptorSet.FromString(descriptor_path().read_bytes())
    ours = [file.options for file in described.file if file.name.startswith(folder)]
    assert {one.go_package for one in ours} == {go}
    assert {(one.java_package, one.java_multiple_files) for one in ours} == {(java, True)}
