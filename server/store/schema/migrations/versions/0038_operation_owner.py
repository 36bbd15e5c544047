"""Add the owner of bulk operations, by whom they are counted."""

from pathlib import Path

from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Run the SQL file next to this module."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Raise an error: migrations cannot be reverted."""
    raise RuntimeError("downgrades are not supported; an older version of Clarion can use this schema")
