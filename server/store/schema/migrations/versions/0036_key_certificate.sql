-- What identifies certificates, and the key that each belongs to: `uri:…`, `dns:…` or `sha256:…`.
CREATE TABLE key_certificate (
    identity text PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES api_key (id)
);
CREATE INDEX key_certificate_key ON key_certificate (key_id);
CREATE TRIGGER key_certificate_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON key_certificate
    FOR EACH STATEMENT EXECUTE FUNCTION bump_catalog_version();
