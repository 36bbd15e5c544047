"""The store in PostgreSQL: connections, schema, acceptance, queues, records and administration."""
