"""Build hook that adds the stubs, which `make proto` builds, to the distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STUBS = ("clarion/v1/*_pb2*", "buf/validate/*_pb2*")


class Stubs(BuildHookInterface[Any]):
    """Adds the stubs from `../protos`; an sdist already contains them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add each stub at the path that it is imported from.

        Raises:
            FileNotFoundError: The stubs are not built.
        """
        here = Path(self.root)
        if (here / "PKG-INFO").exists():
            return
        protos = here.parent / "protos"
        for pattern in STUBS:
            found = sorted(protos.glob(pattern))
            if not found:
                raise FileNotFoundError(f"{protos / pattern}: no such files; run `make proto` first")
            names = {str(path): str(path.relative_to(protos)) for path in found}
            build_data["force_include"].update(names)
