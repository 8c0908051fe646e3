-- Why an item can never run, as a problem: the line that it came on was no URL.
ALTER TABLE items ADD COLUMN broken TEXT;
