-- Indexes of tables that may be large, each built without blocking writers, after the migrations.
-- The name of a statement is that of its index. Built once: for another definition, use another name.

-- name: trigger_of_address
-- An operator looks for the messages to an address.
CREATE INDEX CONCURRENTLY trigger_of_address ON trigger (address, id)

-- name: webhook_message_about
-- A delivery shows the messages about it.
CREATE INDEX CONCURRENTLY webhook_message_about ON webhook_message (trigger_id) WHERE trigger_id IS NOT NULL

-- name: trigger_of_tests
-- A test key lists only tests.
CREATE INDEX CONCURRENTLY trigger_of_tests ON trigger (project_id, id) WHERE test
