"""Which database keeps the records: one seam, and what stands behind it."""
