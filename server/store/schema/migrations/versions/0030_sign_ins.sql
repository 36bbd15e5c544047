-- Finds the sessions that one owner has started lately, also those that ended.
CREATE INDEX operator_session_started ON operator_session (owner, created_at);
