-- For how many days dispatchers keep data: `content`, `record` and `audit` of `[retention]`. A shorter setting, `next_days`,
-- is held back until `next_at`, so that a mistake can be undone. See server/store/retention_days.py.
CREATE TABLE retention (
    data         text PRIMARY KEY,
    days         int NOT NULL,
    next_days    int,
    next_at      timestamptz,
    shortened_at timestamptz -- when `days` last became shorter
);
