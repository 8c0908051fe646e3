"""The nouns, their states and the moves between them; pure, and the same in every store."""
