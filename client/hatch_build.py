"""Puts the stubs that `make proto` builds into the distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STUBS = ("clarion/v1/*_pb2*", "buf/validate/*_pb2*")


class Stubs(BuildHookInterface[Any]):
    """Takes them from `../protos`; an sdist has them already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add each stub under the name by which it is imported.

        Raises:
            FileNotFoundError: they are not built.
        """
        here = Path(self.root)
        if (here / "PKG-INFO").exists():
            return
        protos = here.parent / "protos"
        for pattern in STUBS:
            found = sorted(protos.glob(pattern))
            if not found:
                raise FileNotFoundError(f"{protos / pattern}: nothing there; run `make proto` first")
            names = {str(path): str(path.relative_to(protos)) for path in found}
            build_data["force_include"].update(names)
