-- Files that were stored by themselves are listed, newest first.

CREATE INDEX files_by_client ON files (client, pk) WHERE job_pk IS NULL;
