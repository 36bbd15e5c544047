-- The channels are defined in server/channels/, which checks a campaign's channel when it is applied. So the
-- table checks the form only, and a new channel needs no migration.
ALTER TABLE campaign
    DROP CONSTRAINT campaign_channel_check,
    ADD CONSTRAINT campaign_channel_check CHECK (channel ~ '^[a-z_]{1,32}$');
