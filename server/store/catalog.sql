-- name: version
SELECT version FROM catalog_version
