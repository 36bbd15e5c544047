"""PostgreSQL: pool, migrations, the group committer, the queue, and one file an aggregate."""
