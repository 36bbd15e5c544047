-- Domains are compared without case (RFC 5321 section 2.4); what precedes the @ belongs to the recipient's server.
-- SQL, one expression and IMMUTABLE, so that the planner inlines it into each claim.
CREATE FUNCTION suppression_address(channel text, address text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN channel = 'email'
    THEN left(address, -length(split_part(address, '@', -1))) || lower(split_part(address, '@', -1))
    ELSE address END;

INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id, created_at)
SELECT project_id, channel, suppression_address(channel, address), reason, provider, trigger_id, created_at
FROM suppression WHERE address <> suppression_address(channel, address) ORDER BY created_at
ON CONFLICT (project_id, channel, address) DO NOTHING;
DELETE FROM suppression WHERE address <> suppression_address(channel, address);
