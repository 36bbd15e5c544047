-- Indexes of tables that may be large, each built without blocking writers, after the migrations.
-- The name of a statement is that of its index. Built once: for another definition, use another name.

-- An operator looks for the messages to an address.
-- name: trigger_of_address
CREATE INDEX CONCURRENTLY trigger_of_address ON trigger (address, id)

-- A delivery shows the webhook messages about it.
-- name: webhook_message_about
CREATE INDEX CONCURRENTLY webhook_message_about ON webhook_message (trigger_id) WHERE trigger_id IS NOT NULL

-- name: trigger_of_tests
-- A test key lists only tests.
CREATE INDEX CONCURRENTLY trigger_of_tests ON trigger (project_id, id) WHERE test

-- Suppressions of a project are listed, the newest first.
-- name: suppression_of_project
CREATE INDEX CONCURRENTLY suppression_of_project ON suppression (project_id, created_at, channel, address)

-- Operators list the webhook messages that were given up. Only those are in the index.
-- name: webhook_message_dead
CREATE INDEX CONCURRENTLY webhook_message_dead ON webhook_message (created_at, id) WHERE failed_at IS NOT NULL
