"""Lists that are read a page at a time, each page from where the one before it ended."""

from __future__ import annotations

from typing import Any, NamedTuple

from app.errors import InvalidParameter
from app.stores.base import Row, Tx


class Order(NamedTuple):
    """How a list goes on."""

    column: str
    """What of a page's last row is the cursor."""
    bound: str
    """The parameter of the list's statement that takes the cursor."""
    start: int
    """Its value for the first page."""


NEWEST_FIRST = Order("pk", "before", (1 << 63) - 1)
INPUT_ORDER = Order("idx", "after", -1)


def read_page(
    tx: Tx,
    statement: str,
    order: Order,
    *,
    cursor: str | None,
    limit: int,
    **values: Any,
) -> tuple[list[Row], str | None]:
    """Read up to `limit` rows of a list, and the next page's cursor if there is one.

    Raises:
        InvalidParameter: `cursor` is not one of ours.
    """
    values[order.bound] = order.start if cursor is None else _read_cursor(cursor)
    found = tx.run(statement, **values, limit=limit + 1)  # one more tells whether there are more
    if len(found) <= limit:
        return found, None
    return found[:limit], str(found[limit - 1][order.column])


def _read_cursor(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidParameter("`cursor` is not one that this service gave out.")
    return int(cursor)
