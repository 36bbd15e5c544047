"""Limits of keys and projects, and the server processes that share them."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them. The driver itself runs the file: it holds many statements."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Refuse: migrations only add, so an older version runs on this schema too."""
    raise RuntimeError("an older version of Clarion needs no older schema")
