"""Limits of keys and projects, and the server processes that share them."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns and the table. The driver itself runs the file: it holds many statements."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Raise an error: migrations cannot be reverted, and an older version can use this schema."""
    raise RuntimeError("downgrades are not supported; an older version of Clarion can use this schema")
