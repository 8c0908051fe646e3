"""Where records live: jobs, items, files, and what is queued."""
