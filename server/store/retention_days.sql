-- For how many days data is kept. A shorter setting applies a day after a dispatcher first had it; until then, any
-- dispatcher with the time before cancels it.

-- name: begin
INSERT INTO retention (data, days) VALUES (:data, :days) ON CONFLICT DO NOTHING

-- name: apply_next
UPDATE retention SET days = next_days, shortened_at = now(), next_days = NULL, next_at = NULL
WHERE data = :data AND next_at <= now()

-- name: lengthen
UPDATE retention SET days = :days, next_days = NULL, next_at = NULL
WHERE data = :data AND days <= :days AND (days < :days OR next_at IS NOT NULL)

-- name: shorten
-- Of several shorter settings, the longest is next.
UPDATE retention SET next_days = :days, next_at = now() + interval '1 day'
WHERE data = :data AND days > :days AND coalesce(next_days, 0) < :days

-- name: find
SELECT data, days, next_days, next_at FROM retention WHERE data = :data

-- name: find_shorter
SELECT data, days, next_days, next_at FROM retention WHERE next_at IS NOT NULL ORDER BY data
