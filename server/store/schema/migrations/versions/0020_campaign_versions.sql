-- The file that a campaign was applied from; empty if it is edited in the portal, NULL if that is not known yet.
ALTER TABLE campaign
    ADD COLUMN managed_by  text,
    ADD COLUMN archived_at timestamptz; -- an archived campaign is also paused, which older versions know

-- Each version of each campaign. `number` is the campaign's revision. Never changed.
CREATE TABLE campaign_version (
    project_id  bigint NOT NULL,
    campaign_id bigint NOT NULL,
    number      bigint NOT NULL,
    content     text NOT NULL, -- JSON: the columns of the campaign
    created_at  timestamptz, -- NULL: before versions were kept
    created_by  text NOT NULL,
    PRIMARY KEY (project_id, campaign_id, number)
);
INSERT INTO campaign_version (project_id, campaign_id, number, content, created_at, created_by)
SELECT project_id, id, revision, to_json(c)::text, NULL, '' FROM campaign c;
