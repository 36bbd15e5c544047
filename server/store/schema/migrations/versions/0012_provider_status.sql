-- What `ProviderStatus` in server/domain/waiting.py describes, by provider. NULL for servers and older dispatchers.
ALTER TABLE server_process ADD COLUMN providers json;
