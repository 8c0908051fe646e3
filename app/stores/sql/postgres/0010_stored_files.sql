-- As SQLite's of this number: see the comments there.

CREATE INDEX files_by_client ON files (client, pk) WHERE job_pk IS NULL;
