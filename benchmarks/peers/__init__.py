"""Who Offload is measured against besides the naive design, and what is missing of them here.

`make bench-peers` installs them all. One that is missing is skipped, by its name, in the tables.
"""
