-- Who signed in by OpenID Connect, as JSON; NULL for a session that an admin key started. An ID token starts at most
-- one session, and is too old for another before its session is deleted.
ALTER TABLE operator_session
    ADD COLUMN identity   jsonb,
    ADD COLUMN token_used bytea UNIQUE CHECK (octet_length(token_used) = 32);
