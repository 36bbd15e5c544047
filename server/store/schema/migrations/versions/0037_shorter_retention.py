"""Hold back a shorter retention for a day."""

from pathlib import Path

from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Run the SQL file next to this module."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Raise an error: migrations cannot be reverted."""
    raise RuntimeError("downgrades are not supported; an older version of Clarion can use this schema")
