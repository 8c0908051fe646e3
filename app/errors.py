"""Every way a request or an item can fail, with the code, status and title it is reported under.

The tree, by group; catch the group, raise the leaf:

    OffloadError
    ├── InputError         input.*      the caller's request does not say something we can do
    ├── LimitError         limit.*      it does, and is more than this service was set up to do
    ├── FetchError         fetch.*      an origin, or the way to it, did not deliver
    ├── DeliveryError      delivery.*   a webhook or a result could not be handed over
    ├── CodecError         codec.*      a compressed stream could not be made or read
    ├── ArchiveError       archive.*    an archive, or a member of one, could not be made or read
    ├── ImageError         image.*      a picture could not be read or made
    ├── StorageError       storage.*    bytes or records could not be kept
    └── InternalError      internal.*   our fault

An error has two voices: `detail` is the client's sentence (what failed, which field, what would
be valid), `log_detail` is the operator's and never leaves the process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

PROBLEM_MEDIA_TYPE = "application/problem+json"
URN = "urn:offload:error:"
_RENAMED = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""By RFC 9110; Python calls them so from 3.13 on."""


def phrase(status: int) -> str:
    """Give the reason phrase of an HTTP status (RFC 9110), the same with every Python."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase


@dataclass(frozen=True, slots=True)
class Problem:
    """One failure as it is reported: RFC 9457 members, and what an item's record keeps of it."""

    code: str
    title: str
    status: int
    detail: str
    retryable: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Give its JSON members (RFC 9457)."""
        return {
            "type": URN + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A part of an input, such as one member of an archive, that failed alone."""

    name: str
    """The part's name, as the input or the client gave it."""
    code: str
    """One of `CATALOGUE`."""
    detail: str
    """For the client."""


def is_internal(code: str) -> bool:
    """Tell whether a code is of what no request and no input should be able to bring about."""
    return code.startswith("internal.")


class OffloadError(Exception):
    """Something went wrong here for which there is no other code; the log has it."""

    code: ClassVar[str] = "internal.error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later, unchanged."""

    def __init_subclass__(
        cls, code: str = "", status: int = 0, title: str = "", retryable: bool | None = None
    ) -> None:
        """Take what its line declares; what that leaves out is its group's."""
        super().__init_subclass__()
        cls.code, cls.status = code or cls.code, status or cls.status
        cls.title = title or cls.title
        cls.retryable = cls.retryable if retryable is None else retryable

    def __init__(self, detail: str, *, log_detail: str = "", **extra: Any) -> None:
        """Keep the client's sentence, the operator's, and members to add to the problem."""
        super().__init__(detail)
        self.detail = detail
        self.log_detail = log_detail
        self.extra = extra
        self.headers: dict[str, str] = {}
        """HTTP headers that belong to the answer, where there is one."""
        self.facts: dict[str, Any] = {}
        """JSON only, by step: what an item had found out before it failed."""

    def problem(self) -> Problem:
        """Give this failure as a value."""
        return Problem(
            self.code, self.title, self.status, self.detail, self.retryable, dict(self.extra)
        )


# The table: a line for the class with all that is reported of it, and a line for when. What a line
# leaves out is that of its group, which stands first.
# fmt: off

class InputError(OffloadError, code="input.invalid", status=422, title="The request is not valid"):
    """The request, or one input of it, is not something this service can act on."""
class InvalidParameter(InputError):
    """A parameter is unknown, of the wrong type or out of range."""
class MissingInput(InputError, code="input.missing", status=400, title="Nothing to work on"):
    """No file, no URL and no stored file was given."""
class NoSources(InputError, code="input.none_left", status=422, title="Nothing is left to join"):
    """A step that joins comes after items of which none has a result."""
class EmptyBody(InputError, code="input.empty", status=400, title="The body is empty"):
    """The request has no body where one was promised."""
class MalformedBody(InputError, code="input.malformed", status=400, title="The body cannot be parsed"):
    """The body is not what its Content-Type says: broken multipart, JSON or text."""
class IncompleteBody(InputError, code="input.incomplete", status=408, title="The body did not arrive whole", retryable=True):
    """The client went away, or stalled, before the whole body had arrived."""
class DigestMismatch(InputError, code="input.digest", status=400, title="The body does not have the announced digest", retryable=True):  # damaged on the way
    """The body, or a part of it, is not the one whose digest came with it; nothing was stored."""
class LateHead(InputError, code="input.late", status=408, title="The request did not arrive in time", retryable=True):
    """The request's head did not arrive whole in the time that it has."""
class MalformedRequest(InputError, code="input.http", status=400, title="Not a valid HTTP request"):
    """What arrived is not HTTP/1.1."""
class UnsupportedBody(InputError, code="input.unsupported", status=415, title="The body's type is not supported"):
    """The Content-Type or Content-Encoding of the request is not one this door takes."""
class UnknownRoute(InputError, code="input.no_such_path", status=404, title="No such path"):
    """No such path."""
class MethodNotAllowed(InputError, code="input.method", status=405, title="Method not allowed"):
    """The path exists, the method does not."""
class Forbidden(InputError, code="input.forbidden", status=403, title="Not for this key"):
    """The key is one of a client's, and what is asked for is the operator's."""
class CrossSite(InputError, code="input.cross_site", status=403, title="Sent by another site's page"):
    """There are no API keys, and a page of another site wants something done, from somebody's browser."""
class NotFound(InputError, code="input.not_found", status=404, title="Not found"):
    """No job or file has that id, or it belongs to another client."""
class Expired(InputError, code="input.expired", status=410, title="Expired"):
    """It was here, and retention has removed its data."""
class Conflict(InputError, code="input.conflict", status=409, title="Not possible in this state"):
    """The job or file is not in a state that allows this."""
class IdempotencyMismatch(InputError, code="input.idempotency", title="The idempotency key belongs to another request"):
    """The Idempotency-Key was used before with another request."""
class PreconditionFailed(InputError, code="input.precondition", status=412, title="Precondition failed"):
    """If-Match or If-Unmodified-Since does not hold."""
class RangeNotSatisfiable(InputError, code="input.range", status=416, title="Range not satisfiable"):
    """None of the asked ranges lies inside the file."""
class Unauthorized(InputError, code="input.unauthorized", status=401, title="An API key is needed"):
    """API keys are configured, and the request carries none that is known."""

class LimitError(OffloadError, code="limit.exceeded", status=422, title="Over a limit"):
    """The request is valid and larger than the operator allows."""
class BodyTooLarge(LimitError, code="limit.body", status=413, title="The body is too large"):
    """The request body, or one part of it, is over its size limit."""
class HeadTooLarge(LimitError, code="limit.head", status=431, title="The request's head is too large"):
    """The request's line, its headers, its trailers or its chunk extensions are over their size."""
class TooManyConnections(LimitError, code="limit.connections", status=503, title="Too many connections", retryable=True):
    """As many connections are at work as the service can have."""
class TooManyItems(LimitError, code="limit.items", title="Too many items"):
    """More items, parts, fields or steps than one job may have."""
class QueueFull(LimitError, code="limit.queue", status=429, title="The queue is full", retryable=True):
    """The service has accepted as much unfinished work as it is set up for."""
class DeadlineExceeded(LimitError, code="limit.time", title="The work took too long"):
    """The item's work took longer than an item may take."""
class MemoryExceeded(LimitError, code="limit.memory", title="The work needs too much memory"):
    """The item's work needed more memory than a worker may use."""
class PixelsExceeded(LimitError, code="limit.pixels", title="The picture is too large"):
    """Pixels times frames, by the header, are over the budget."""
class OutputTooLarge(LimitError, code="limit.output", title="The result is too large"):
    """The result grew past what one item may produce."""
class RatioExceeded(LimitError, code="limit.ratio", title="The input expands too much"):
    """Decoding gave more bytes for each byte read than the budget allows: a bomb, most likely."""
class TooManyMembers(LimitError, code="limit.entries", title="The archive has too many members"):
    """The archive has more members than asked or allowed."""

class FetchError(OffloadError, code="fetch.failed", status=502, title="The URL could not be fetched"):
    """The URL could not be fetched."""
class FetchUrlInvalid(FetchError, code="fetch.url", status=422, title="The URL is not one that can be fetched"):
    """Not an absolute http or https URL, or one with parts we do not send (user info)."""
class FetchForbidden(FetchError, code="fetch.forbidden", status=403, title="The address is not allowed"):
    """The address guard refuses the scheme, port or address."""
class RemoteUnknown(FetchError, code="fetch.remote", status=422, title="No remote covers this"):
    """A URL or a `store` names a bucket that the operator has not named, or not for this client."""
class RemoteUnready(FetchError, code="fetch.credentials", title="The remote's credentials are not there", retryable=True):
    """The service has no credentials for a bucket that the operator named, or cannot get them now."""
class FetchNameError(FetchError, code="fetch.dns", title="The host name does not resolve", retryable=True):
    """The host name does not resolve."""
class FetchConnectError(FetchError, code="fetch.connect", title="No connection to the origin", retryable=True):
    """No connection: refused, unreachable, reset, or TLS failed."""
class FetchProxyError(FetchError, code="fetch.proxy", title="The proxy gave no connection to the origin", retryable=True):
    """The configured proxy is not there, does not speak HTTP, or does not let us through."""
class FetchTlsError(FetchError, code="fetch.tls", title="TLS failed"):
    """The TLS handshake or the certificate check failed."""
class FetchTimeout(FetchError, code="fetch.timeout", status=504, title="The origin took too long", retryable=True):
    """A connect, read or total deadline passed."""
class FetchStatusError(FetchError, code="fetch.status", title="The origin answered with an error"):
    """The origin answered with a status that is not a success."""
class FetchRedirectError(FetchError, code="fetch.redirects", title="The redirects cannot be followed"):
    """Too many redirects, or one that cannot be followed."""
class FetchTooLarge(FetchError, code="fetch.too_large", status=413, title="The response is too large"):
    """The body, decoded, is over the size cap."""
class FetchTruncated(FetchError, code="fetch.truncated", title="The response is incomplete", retryable=True):
    """The body ended before its declared end: length, chunk or content coding."""
class FetchEncodingError(FetchError, code="fetch.encoding", title="The response's coding cannot be read"):
    """A content coding that we did not ask for and cannot verify, or a damaged one."""
class FetchDigestMismatch(FetchError, code="fetch.digest", title="The content does not have the expected digest"):
    """The content arrived whole and is not the one whose digest was given."""
class FetchTypeRefused(FetchError, code="fetch.type", status=415, title="The response's type is not accepted"):
    """The content, or what the origin calls it, is of no type among `accept_types`."""
class FetchProtocolError(FetchError, code="fetch.protocol", title="The origin's answer is not valid HTTP", retryable=True):
    """The origin does not speak HTTP as RFC 9110 and 9112 have it."""

class DeliveryError(OffloadError, code="delivery.failed", status=502, title="The delivery failed"):
    """A webhook or a result could not be handed over to its receiver."""
class ReceiverRefused(DeliveryError, code="delivery.status", title="The receiver did not accept it"):
    """The receiver answered with a status that is not a success; redirects are not followed."""
class ReceiverGone(DeliveryError, code="delivery.gone", status=410, title="The endpoint is gone"):
    """The endpoint answered 410, so nothing more is sent to it."""
class AttemptsExhausted(DeliveryError, code="delivery.exhausted", title="Every attempt failed"):
    """No attempt of the whole schedule succeeded."""
class EndpointMissing(DeliveryError, code="delivery.endpoint", status=409, title="No endpoint to deliver to"):
    """No endpoint is configured, or no secret to sign with."""
class NoKey(DeliveryError, code="delivery.key", status=422, title="The result's key cannot be used"):
    """What `store` makes of a result's name is none that an object may have, or that of another result."""
class TooLargeToPut(DeliveryError, code="delivery.too_large", status=413, title="The result is too large for one object"):
    """A bucket takes no more than 5,000 MiB in one request."""
class NotOneResult(DeliveryError, code="delivery.results", status=422, title="Not exactly one result to put"):
    """One URL takes one result, and the item has none or several."""

class CodecError(OffloadError, code="codec.failed", status=422, title="The compression failed"):
    """A compressed stream could not be made or read."""
class CodecUnknown(CodecError, code="codec.unknown", status=415, title="Not a known compression format"):
    """The content is in none of the compression formats that are read here, or not in the named."""
class StreamTruncated(CodecError, code="codec.truncated", title="The compressed stream is cut"):
    """A compressed stream ends before its end."""
class StreamDamaged(CodecError, code="codec.damaged", title="The compressed stream is damaged"):
    """A compressed stream breaks its format's rules, or its checksum does not fit."""
class TrailingData(CodecError, code="codec.trailing_data", title="Something follows the compressed stream"):
    """Something that is no part of it follows a compressed stream."""

class ImageError(OffloadError, code="image.failed", status=422, title="The picture could not be processed"):
    """A picture could not be read or made."""
class ImageUnsupported(ImageError, code="image.unsupported", status=415, title="Not a picture of a supported kind"):
    """The content is not a picture of a kind that is decoded here."""
class ImageUnreadable(ImageError, code="image.unreadable", title="The picture is damaged"):
    """The content claims to be a picture and is cut, damaged or inconsistent."""

class ArchiveError(OffloadError, code="archive.failed", status=422, title="The archive could not be processed"):
    """An archive, or a member of one, could not be made or read."""
class ArchiveUnsupported(ArchiveError, code="archive.unsupported", status=415, title="Not an archive of a supported kind"):
    """Not an archive of a kind that is read here, or a member that uses what is not."""
class ArchiveDamaged(ArchiveError, code="archive.damaged", title="The archive is damaged"):
    """The archive contradicts itself, or a member's bytes are not those it was made of."""
class ArchiveTruncated(ArchiveError, code="archive.truncated", title="The archive is cut"):
    """The archive ends before its end."""
class ArchiveTrailing(ArchiveError, code="archive.trailing_data", title="Something follows the archive's end"):
    """Bytes follow the archive's end; they belong to no member and were not read."""
class ArchiveOverlap(ArchiveError, code="archive.overlap", title="Members of the archive overlap"):
    """Members of a zip share bytes, as those of a bomb do and honest ones never."""
class MemberEncrypted(ArchiveError, code="archive.encrypted", title="The member is encrypted"):
    """The member, or the archive's directory, needs a password."""
class MemberPathUnsafe(ArchiveError, code="archive.unsafe_path", title="The member's path is not safe"):
    """The member's path is absolute, climbs with `..`, or is none that can be stored."""
class MemberIsLink(ArchiveError, code="archive.link", title="The member is a link"):
    """The member is a symbolic or hard link: it has no content of its own."""
class MemberIsSpecial(ArchiveError, code="archive.special_file", title="The member is no ordinary file"):
    """The member is a device, a FIFO or a socket."""
class MemberNameTaken(ArchiveError, code="archive.collision", title="Two members would have one path"):
    """Two files would get one path in the archive, and `on_collision` is `error`."""

class StorageError(OffloadError, code="storage.unavailable", status=503, title="The store is not available", retryable=True):
    """Bytes or records could not be kept or read."""
class StorageFull(StorageError, code="storage.full", status=507, title="No space left"):
    """The free-space floor is reached, or the disk is full."""
class BlobMissing(StorageError, code="storage.missing", status=500, title="Stored bytes are missing", retryable=False):
    """A record points at bytes that are gone."""
class Outdated(StorageError):
    """A newer program has brought the records forward, and this one may write to them no more."""

class InternalError(OffloadError):
    """Our fault."""
class WorkerLost(InternalError, code="internal.worker_lost", title="The worker process died on this item"):
    """The worker process died while it ran this item alone."""
class Interrupted(InternalError, code="internal.interrupted", title="The work was interrupted too often"):
    """The service itself went down under this item too many times."""
class Stopping(InternalError, code="internal.stopping", status=503, title="The service is being stopped", retryable=True):
    """The service is being stopped, and the request was not done in the time that was left."""
class OperationFailed(InternalError, code="internal.operation", title="The operation failed"):
    """An operation raised something it does not promise to raise."""
# fmt: on


def _leaves(base: type[OffloadError]) -> dict[str, type[OffloadError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        for code, error in _leaves(child).items():
            found.setdefault(code, error)
    return found


CATALOGUE: dict[str, type[OffloadError]] = _leaves(OffloadError)
"""Every code and the class that owns it; documentation and the worker pipe rest on it."""


def from_code(code: str, detail: str, *, log_detail: str = "", **extra: Any) -> OffloadError:
    """Make the error that owns `code` again, on the other side of a pipe or a record."""
    return CATALOGUE.get(code, InternalError)(detail, log_detail=log_detail, **extra)
