"""Who runs an item, and when."""
