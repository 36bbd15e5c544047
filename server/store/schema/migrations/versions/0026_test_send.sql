-- The content that an author sends as a test, JSON as in campaign_version; NULL: the content of the campaign.
ALTER TABLE trigger ADD COLUMN test_content text;
