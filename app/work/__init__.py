"""What nodes with the role `work` do: run chunks of items, and carry out deliveries."""
