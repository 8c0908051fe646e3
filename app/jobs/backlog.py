"""How much is unfinished, and so whether more is taken."""

from __future__ import annotations

from collections import Counter
from functools import partial

from app.errors import QueueFull
from app.jobs.writer import Tx


class Backlog:
    """Counts unfinished items by client, those on their way in included.

    Read and changed on the event loop only: what a transaction changes, it changes after its
    commit.
    """

    def __init__(self, most: int) -> None:
        """Take how many unfinished items the service has at most."""
        self._most = most
        self.unfinished: Counter[str] = Counter()

    def check(self, items: int = 1) -> None:
        """Raise `QueueFull` if so many items more do not fit."""
        if self.unfinished.total() + items > self._most:
            raise QueueFull(
                f"{self.unfinished.total()} items are unfinished; this service takes "
                f"{self._most}. Try again later.",
                retry_after_s=5,
            )

    def enter(self, client: str, items: int) -> int:
        """Count items that are about to be written; gives how many of the client's are ahead.

        Counted before they are written, so that submissions under way see each other. Raises
        `QueueFull` as `check` does.
        """
        self.check(items)
        ahead = self.unfinished[client]
        self.unfinished[client] += items
        return ahead

    def leave(self, client: str, items: int) -> None:
        """Count items no longer."""
        self.unfinished[client] -= items

    def ended(self, tx: Tx, client: str, items: int) -> None:
        """Count items no longer that end in this transaction."""
        tx.after_commit(partial(self.leave, client, items))

    def returned(self, tx: Tx, client: str, items: int) -> None:
        """Count items again that go back into the queue in this transaction."""
        tx.after_commit(partial(self.unfinished.update, {client: items}))
