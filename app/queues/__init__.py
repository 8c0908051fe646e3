"""Queue engines: how nodes hear which chunks are theirs to take, where there are several."""
