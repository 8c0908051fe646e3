"""What can go wrong, as exceptions with a stable `code`.

Codes of the service are those of its docs/errors.md; those that begin with `client.` are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class OffloadError(Exception):
    """Base of all that this package raises on its own account.

    Attributes:
        code: stable, for programs.
        detail: a sentence, for people.
        status: HTTP status of the answer; None where there was none.
        problem: the service's problem document (RFC 9457), where it sent one.
        hint: a further sentence where there is more to know, such as a service of another version.
    """

    default_code: ClassVar[str] = "client.error"

    def __init__(
        self,
        detail: str,
        *,
        code: str = "",
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what is known."""
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.status = status
        self.problem = problem
        self.hint = ""
        self.retry_after: str | None = None
        """The header of that name, where there was one."""

    def __str__(self) -> str:
        """Give the sentence, with the code behind it."""
        return f"{self.detail} [{self.code}]" + (f" {self.hint}" if self.hint else "")

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged, as the service says."""
        return bool(self.problem and self.problem.get("retryable"))


class ServiceError(OffloadError):
    """The service refused a request, or an item failed: `code` is the service's."""


class Unauthorized(ServiceError):
    """The service asks for a key, and the request has none that it knows (401)."""


class NotFound(ServiceError):
    """No such job, file or delivery of this key's (404), or no longer (410)."""


class JobFailed(ServiceError):
    """What was asked for of a job is not there: it failed, was canceled, or has not one result."""


class ConnectionFailed(OffloadError):
    """There was no answer, however often it was tried."""

    default_code = "client.connection"


class TimedOut(OffloadError):
    """It was not done within the time that the caller gave it."""

    default_code = "client.timeout"


class DigestMismatch(OffloadError):
    """What arrived is not what the service says that it has; nothing was saved."""

    default_code = "client.digest"


class CannotRepeat(OffloadError):
    """A request failed, and its body was a stream that cannot be read again."""

    default_code = "client.cannot_repeat"


class InputChanged(OffloadError):
    """A file got shorter or longer while it was read."""

    default_code = "client.input_changed"


class NotOffload(OffloadError):
    """What answers is no Offload service, or one that this client does not understand."""

    default_code = "client.not_offload"


def from_problem(problem: Mapping[str, Any], status: int | None = None) -> ServiceError:
    """Make the exception of a problem document."""
    known = status if status is not None else problem.get("status")
    kinds: dict[Any, type[ServiceError]] = {401: Unauthorized, 404: NotFound, 410: NotFound}
    kind = kinds.get(known, ServiceError)
    return kind(
        str(problem.get("detail") or problem.get("title") or "The service gave no reason."),
        code=str(problem.get("code") or "internal.error"),
        status=known if isinstance(known, int) else None,
        problem=problem,
    )
