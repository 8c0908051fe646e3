"""What can be told of a file without making another: one module for each kind of content."""
