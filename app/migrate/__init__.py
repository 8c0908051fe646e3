"""Moves a data folder, records and bytes, to PostgreSQL and a bucket: `offload migrate`."""
