"""The rules of jobs, items, chunks, files and deliveries, each once, whichever database."""
