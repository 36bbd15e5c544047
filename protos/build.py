"""Builds stubs and the descriptor set from the proto files, as part of `make proto`.

No third-party proto is copied into this repository. `google/api` and `google/rpc` come from the
installed `googleapis-common-protos`; `buf/validate/validate.proto` comes out of the installed
`protovalidate` package's own descriptor, which also gives its Python stub.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import google.rpc
import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

from generate.raw_bodies import with_raw_bodies

ROOT = Path(__file__).parent
DESCRIPTORS = ROOT / "clarion/v1/clarion.binpb"
FOR_GATEWAY = ROOT / "clarion/v1/gateway.binpb"
# Envoy responds with 400 and an empty body to errors with a detail whose type is not in the descriptor set.
ALSO_DESCRIBED = ["google/rpc/status.proto", "google/rpc/error_details.proto"]


def validate_descriptors() -> bytes:
    """Return a FileDescriptorSet with `buf/validate/validate.proto` and its imports."""
    files = descriptor_pb2.FileDescriptorSet()
    validate = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    for dependency in validate.dependency:  # all of them google/protobuf/*.proto
        stub = importlib.import_module(dependency.removesuffix(".proto").replace("/", ".") + "_pb2")
        stub.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(validate)
    return files.SerializeToString()


def main() -> int:
    """Build everything and return the exit code of protoc."""
    ours = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("clarion/**/*.proto"))
    common = Path(next(iter(google.rpc.__path__))).parent.parent
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.NamedTemporaryFile(suffix=".binpb") as rules:
        rules.write(validate_descriptors())
        rules.flush()
        known = [f"--descriptor_set_in={rules.name}", f"-I{ROOT}", f"-I{common}", f"-I{well_known}"]
        python = [f"--python_out={ROOT}", f"--pyi_out={ROOT}"]
        described = [f"--descriptor_set_out={DESCRIPTORS}", "--include_imports", "--include_source_info"]
        runs = [
            [*known, *python, f"--grpc_python_out={ROOT}", *ours],
            [*known, *python, "buf/validate/validate.proto"],
            [*known, *described, *ours, *ALSO_DESCRIBED],
        ]
        code = next((code for run in runs if (code := protoc.main(["protoc", *run]))), 0)
    if not code:
        FOR_GATEWAY.write_bytes(with_raw_bodies(DESCRIPTORS.read_bytes()))
    return code


if __name__ == "__main__":
    sys.exit(main())
