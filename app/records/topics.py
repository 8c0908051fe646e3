"""What transactions tell of once they are durable: hints, beneath which everybody polls."""

from __future__ import annotations

JOB = "job"
"""The id of a job of which something has changed that its client can see."""
OVER = "over"
"""The id of a job that is over, or deleted."""
ENDED = "ended"
"""The id and the status of a job that has come to its end."""
GONE = "gone"
"""The key of a job of which chunks were canceled while nodes may run them."""
BITE = "bite"
"""There is something to be done bit by bit."""
DUE = "due"
"""Something may be sent at once."""
SETTLED = "settled"
"""The id of a delivery that was delivered or given up."""
