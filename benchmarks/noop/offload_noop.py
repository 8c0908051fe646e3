"""An operation that does nothing, from another package: what is left is the service's own work."""

from __future__ import annotations

from app.ops.base import Operation, Params, Result, Work, by_size


def _nothing(work: Work, params: Params) -> Result:
    return Result()


NOOP = Operation(
    name="noop",
    summary="Do nothing.",
    params=Params,
    runs="process",
    accepts=("*/*",),
    run=_nothing,
    takes_bytes=True,
    weight_ms=by_size(0.1, 0),
)
