-- name: list
SELECT p.name AS project, s.channel, s.address, s.reason, s.provider, s.trigger_id, s.created_at
FROM suppression s JOIN project p ON p.id = s.project_id
WHERE (:project::text IS NULL OR p.name = :project) AND (:channel::text IS NULL OR s.channel = :channel)
    AND (:address::text IS NULL OR s.address = suppression_address(s.channel, :address))
ORDER BY s.created_at DESC, s.address LIMIT :limit

-- name: remove
DELETE FROM suppression s USING project p WHERE p.id = s.project_id AND s.channel = :channel
    AND s.address = suppression_address(s.channel, :address) AND (:project::text IS NULL OR p.name = :project) RETURNING s.project_id
