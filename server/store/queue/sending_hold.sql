-- Holds and releases all sending. A claim sees the row, so a hold stops all dispatchers at once.

-- name: find
SELECT held_at, held_by, reason FROM sending WHERE held_at IS NOT NULL

-- name: find_locked
SELECT held_at, held_by, reason FROM sending WHERE held_at IS NOT NULL FOR UPDATE

-- name: hold
UPDATE sending SET held_at = now(), held_by = :held_by, reason = :reason WHERE held_at IS NULL

-- name: release
UPDATE sending SET held_at = NULL, held_by = '', reason = ''

-- name: hold_if_restored
SELECT hold_if_restored()
