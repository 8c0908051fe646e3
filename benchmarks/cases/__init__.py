"""The cases, one a module: what is loaded, what is measured, what is required."""
