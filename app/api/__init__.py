"""HTTP, and nothing else: the only room that knows FastAPI."""
