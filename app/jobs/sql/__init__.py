"""Statements and migrations of the SQL stores."""
