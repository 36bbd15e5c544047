"""Writes the SQL statements of this version as a fixture: the next version's schema must accept them.

`python tools/keep_statements.py` is part of a release, see CONTRIBUTING.md.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from server import store
from server.store import sql

KEPT = Path("tests/contract/store/released_statements.json")


def statements() -> dict[str, dict[str, str]]:
    """Return the statements that the modules of the store load, by file and name."""
    found: dict[str, dict[str, str]] = {}
    load = sql.load

    def recorded(file: str, **fragments: str) -> Mapping[str, sql.Statement]:
        loaded = load(file, **fragments)
        found[file] = {name: one.text for name, one in loaded.items()}
        return loaded

    sql.load = recorded  # before the modules are imported: each loads its statements then
    for module in pkgutil.walk_packages(store.__path__, f"{store.__name__}."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)
    found.pop("schema/indexes.sql", None)  # they are built once, not used
    return dict(sorted(found.items()))


if __name__ == "__main__":
    KEPT.write_text(json.dumps(statements(), indent=1) + "\n", encoding="utf-8")
