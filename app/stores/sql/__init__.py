"""The statements, and the migrations of each dialect."""
