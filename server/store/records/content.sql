-- name: find
SELECT t.*, p.timezone AS of_project FROM trigger t JOIN project p ON p.id = t.project_id WHERE t.id = :id
