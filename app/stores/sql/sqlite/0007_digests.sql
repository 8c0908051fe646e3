-- What the bytes are, beside the key that says where they are. Until now the key was the digest.
ALTER TABLE items ADD COLUMN digest TEXT;
UPDATE items SET digest = blob WHERE blob IS NOT NULL;
ALTER TABLE files ADD COLUMN digest TEXT NOT NULL DEFAULT '';
UPDATE files SET digest = blob;
ALTER TABLE versions ADD COLUMN digest TEXT NOT NULL DEFAULT '';
UPDATE versions SET digest = blob;
