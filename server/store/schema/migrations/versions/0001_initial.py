"""Projects, keys, campaigns, the record of triggers and the queue."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything. The driver itself runs the file: it holds many statements."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    op.get_bind().connection.run_async(lambda connection: connection.execute(sql))


def downgrade() -> None:
    """Raise an error: a downgrade would drop accepted triggers."""
    raise RuntimeError("downgrades are not supported")
