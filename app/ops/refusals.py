"""What a failure in a worker is called: a value for the pipe, whatever was raised."""

from __future__ import annotations

import errno
import traceback

from app.errors import MemoryExceeded, OffloadError, OperationFailed
from app.ops.bounds import Bounds
from app.ops.space import no_room
from app.ops.tasks import Refused, as_json

_NO_MEMORY = "The work needs more memory than a worker may use."


def refused(error: BaseException, bounds: Bounds) -> Refused:
    """Say by its code what is known of a failure; of what is not, only the log has more."""
    known = _known(error) or bounds.struck
    if known is None:
        return Refused(
            OperationFailed.code,
            "The operation failed for a reason that only the service's log has.",
            "".join(traceback.format_exception(error)),
        )
    known = bounds.told(known)
    try:
        extra = as_json(known.extra)
    except (TypeError, ValueError):
        extra = {}
    return Refused(known.code, known.detail, known.log_detail, extra)


def _known(error: BaseException) -> OffloadError | None:
    if isinstance(error, OffloadError):
        return error
    if isinstance(error, MemoryError):
        return MemoryExceeded(_NO_MEMORY)
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOMEM:
        return MemoryExceeded(_NO_MEMORY)
    return no_room(error, str(error))


def refused_briefly(error: BaseException, bounds: Bounds) -> Refused:
    """Report what came up while a failure was being reported: the alarm, or no memory for it."""
    if isinstance(error, OffloadError):
        return Refused(error.code, error.detail, error.log_detail)
    if isinstance(error, MemoryError):
        return Refused(MemoryExceeded.code, _NO_MEMORY)
    if bounds.struck is not None:
        return Refused(bounds.struck.code, bounds.struck.detail)
    return Refused(OperationFailed.code, "The operation failed.", type(error).__name__)
