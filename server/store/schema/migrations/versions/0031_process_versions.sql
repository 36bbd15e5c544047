-- Which version a process has, and on which machine it runs. Older versions of Clarion report neither.
ALTER TABLE server_process ADD COLUMN version text NOT NULL DEFAULT '', ADD COLUMN host text NOT NULL DEFAULT '';
