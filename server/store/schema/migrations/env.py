"""Runs the migrations in one transaction, on the connection from Alembic's configuration."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
