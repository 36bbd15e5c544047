"""The rule for schemas of other versions: each version of Clarion also runs on the schema of the next one.

So a new version can be installed and migrated while the old one runs, and the old one can be restarted or
installed again. A migration that removes something raises `schema_compatibility.oldest` to the first schema
whose version of Clarion does not need it; that version must have been released before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["HEAD", "SCRIPTS", "SchemaVersion"]

SCRIPTS = Path(__file__).parent / "migrations"
HEAD = max(script.name for script in (SCRIPTS / "versions").glob("*.py")).partition("_")[0]
"""The schema of this version. File names start with the revision, so Alembic need not be imported."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """What a database records about its schema.

    Attributes:
        number: The last migration; empty without a schema.
        oldest: The schema of the oldest version of Clarion that can use it; empty if `number` is not newer.
    """

    number: str
    oldest: str

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of Clarion has migrated the database."""
        return self.number > HEAD

    @property
    def problem(self) -> str:
        """Why this version of Clarion cannot use the schema, and what to do; empty if it can."""
        if not self.number:
            return "the database has no schema; run `clarion migrate`"
        if self.number < HEAD:
            return f"the database has schema {self.number}, this version needs {HEAD}; run `clarion migrate`"
        if self.is_newer and self.oldest > HEAD:
            return (
                f"a newer version of Clarion has migrated the database to schema {self.number}, which needs a"
                f" version for schema {self.oldest} or later; this one is for {HEAD}; install the newer one"
            )
        return ""
