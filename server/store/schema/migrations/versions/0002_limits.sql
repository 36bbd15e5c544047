-- Calls a second, and calls at once. NULL: the default of the configuration. A rate of 0: no limit.
ALTER TABLE project
    ADD COLUMN rate  double precision CHECK (rate BETWEEN 0 AND 1000000),
    ADD COLUMN burst integer CHECK (burst BETWEEN 1 AND 1000000);
ALTER TABLE api_key
    ADD COLUMN rate  double precision CHECK (rate BETWEEN 0 AND 1000000),
    ADD COLUMN burst integer CHECK (burst BETWEEN 1 AND 1000000);

CREATE TRIGGER project_changed AFTER UPDATE ON project
    FOR EACH STATEMENT EXECUTE FUNCTION bump_catalog_version();

-- The server processes that are running: each gives its share of a limit. Losing the rows in a crash costs
-- nothing, because every process writes its own again within seconds; so they need no log and no fsync.
CREATE UNLOGGED TABLE server_process (
    id      uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
