"""Pictures: how they are opened, shaped and written; what the picture operations have in common."""
