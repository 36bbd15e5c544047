"""What delivery in production needs: lanes, time to live, send windows, suppressions."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the table. Constant defaults rewrite no row."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Raise an error: migrations cannot be reverted."""
    raise RuntimeError("downgrades are not supported; an older version of Clarion can use this schema")
