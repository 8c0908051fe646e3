-- Bytes that a record has let go of. Others may still name them; whoever takes a key from here looks.
CREATE TABLE loose_blobs (blob TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TRIGGER file_gone AFTER DELETE ON files BEGIN
    INSERT OR IGNORE INTO loose_blobs VALUES (old.blob);
END;
CREATE TRIGGER item_gone AFTER DELETE ON items WHEN old.blob IS NOT NULL BEGIN
    INSERT OR IGNORE INTO loose_blobs VALUES (old.blob);
END;
CREATE TRIGGER input_gone AFTER UPDATE OF blob ON items
WHEN old.blob IS NOT NULL AND new.blob IS NOT old.blob BEGIN
    INSERT OR IGNORE INTO loose_blobs VALUES (old.blob);
END;
