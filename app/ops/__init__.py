"""The operations: one a file, pure and synchronous, paths in and paths out."""
