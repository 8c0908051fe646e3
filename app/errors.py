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
from typing import Any, ClassVar

PROBLEM_MEDIA_TYPE = "application/problem+json"
URN = "urn:offload:error:"


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
    """Base of all failures that this service reports under a code of its own."""

    code: ClassVar[str] = "internal.error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later, unchanged."""

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


# -- input.* -----------------------------------------------------------------------------------


class InputError(OffloadError):
    """The request, or one input of it, is not something this service can act on."""

    code = "input.invalid"
    status = 422
    title = "The request is not valid"


class InvalidParameter(InputError):
    """A parameter is unknown, of the wrong type or out of range."""


class MissingInput(InputError):
    """No file, no URL and no stored file was given."""

    code = "input.missing"
    status = 400
    title = "Nothing to work on"


class NoSources(InputError):
    """A step that joins comes after items of which none has a result."""

    code = "input.none_left"
    status = 422
    title = "Nothing is left to join"


class EmptyBody(InputError):
    """The request has no body where one was promised."""

    code = "input.empty"
    status = 400
    title = "The body is empty"


class MalformedBody(InputError):
    """The body is not what its Content-Type says: broken multipart, JSON or text."""

    code = "input.malformed"
    status = 400
    title = "The body cannot be parsed"


class IncompleteBody(InputError):
    """The client went away, or stalled, before the whole body had arrived."""

    code = "input.incomplete"
    status = 408
    title = "The body did not arrive whole"
    retryable = True


class DigestMismatch(InputError):
    """The body, or a part of it, is not the one whose digest came with it; nothing was stored."""

    code = "input.digest"
    status = 400
    title = "The body does not have the announced digest"
    retryable = True  # damaged on the way, most likely


class LateHead(InputError):
    """The request's head did not arrive whole in the time that it has."""

    code = "input.late"
    status = 408
    title = "The request did not arrive in time"
    retryable = True


class MalformedRequest(InputError):
    """What arrived is not HTTP/1.1."""

    code = "input.http"
    status = 400
    title = "Not a valid HTTP request"


class UnsupportedBody(InputError):
    """The Content-Type or Content-Encoding of the request is not one this door takes."""

    code = "input.unsupported"
    status = 415
    title = "The body's type is not supported"


class UnknownRoute(InputError):
    """No such path."""

    code = "input.no_such_path"
    status = 404
    title = "No such path"


class MethodNotAllowed(InputError):
    """The path exists, the method does not."""

    code = "input.method"
    status = 405
    title = "Method not allowed"


class NotFound(InputError):
    """No job or file has that id, or it belongs to another client."""

    code = "input.not_found"
    status = 404
    title = "Not found"


class Expired(InputError):
    """It was here, and retention has removed its data."""

    code = "input.expired"
    status = 410
    title = "Expired"


class Conflict(InputError):
    """The job or file is not in a state that allows this."""

    code = "input.conflict"
    status = 409
    title = "Not possible in this state"


class IdempotencyMismatch(InputError):
    """The Idempotency-Key was used before with another request."""

    code = "input.idempotency"
    title = "The idempotency key belongs to another request"


class PreconditionFailed(InputError):
    """If-Match or If-Unmodified-Since does not hold."""

    code = "input.precondition"
    status = 412
    title = "Precondition failed"


class RangeNotSatisfiable(InputError):
    """None of the asked ranges lies inside the file."""

    code = "input.range"
    status = 416
    title = "Range not satisfiable"


class Unauthorized(InputError):
    """API keys are configured, and the request carries none that is known."""

    code = "input.unauthorized"
    status = 401
    title = "An API key is needed"


# -- limit.* -----------------------------------------------------------------------------------


class LimitError(OffloadError):
    """The request is valid and larger than the operator allows."""

    code = "limit.exceeded"
    status = 422
    title = "Over a limit"


class BodyTooLarge(LimitError):
    """The request body, or one part of it, is over its size limit."""

    code = "limit.body"
    status = 413
    title = "The body is too large"


class HeadTooLarge(LimitError):
    """The request's line, its headers, its trailers or its chunk extensions are over their size."""

    code = "limit.head"
    status = 431
    title = "The request's head is too large"


class TooManyConnections(LimitError):
    """As many connections are at work as the service can have."""

    code = "limit.connections"
    status = 503
    title = "Too many connections"
    retryable = True


class TooManyItems(LimitError):
    """More items, parts, fields or steps than one job may have."""

    code = "limit.items"
    title = "Too many items"


class QueueFull(LimitError):
    """The service has accepted as much unfinished work as it is set up for."""

    code = "limit.queue"
    status = 429
    title = "The queue is full"
    retryable = True


class DeadlineExceeded(LimitError):
    """The item's work took longer than an item may take."""

    code = "limit.time"
    title = "The work took too long"


class MemoryExceeded(LimitError):
    """The item's work needed more memory than a worker may use."""

    code = "limit.memory"
    title = "The work needs too much memory"


class PixelsExceeded(LimitError):
    """Pixels times frames, by the header, are over the budget."""

    code = "limit.pixels"
    title = "The picture is too large"


class OutputTooLarge(LimitError):
    """The result grew past what one item may produce."""

    code = "limit.output"
    title = "The result is too large"


class RatioExceeded(LimitError):
    """Decoding gave more bytes for each byte read than the budget allows: a bomb, most likely."""

    code = "limit.ratio"
    title = "The input expands too much"


class TooManyMembers(LimitError):
    """The archive has more members than asked or allowed."""

    code = "limit.entries"
    title = "The archive has too many members"


# -- fetch.* -----------------------------------------------------------------------------------


class FetchError(OffloadError):
    """The URL could not be fetched."""

    code = "fetch.failed"
    status = 502
    title = "The URL could not be fetched"


class FetchUrlInvalid(FetchError):
    """Not an absolute http or https URL, or one with parts we do not send (user info)."""

    code = "fetch.url"
    status = 422
    title = "The URL is not one that can be fetched"


class FetchForbidden(FetchError):
    """The address guard refuses the scheme, port or address."""

    code = "fetch.forbidden"
    status = 403
    title = "The address is not allowed"


class FetchNameError(FetchError):
    """The host name does not resolve."""

    code = "fetch.dns"
    title = "The host name does not resolve"
    retryable = True


class FetchConnectError(FetchError):
    """No connection: refused, unreachable, reset, or TLS failed."""

    code = "fetch.connect"
    title = "No connection to the origin"
    retryable = True


class FetchProxyError(FetchError):
    """The configured proxy is not there, does not speak HTTP, or does not let us through."""

    code = "fetch.proxy"
    title = "The proxy gave no connection to the origin"
    retryable = True


class FetchTlsError(FetchError):
    """The TLS handshake or the certificate check failed."""

    code = "fetch.tls"
    title = "TLS failed"


class FetchTimeout(FetchError):
    """A connect, read or total deadline passed."""

    code = "fetch.timeout"
    status = 504
    title = "The origin took too long"
    retryable = True


class FetchStatusError(FetchError):
    """The origin answered with a status that is not a success."""

    code = "fetch.status"
    title = "The origin answered with an error"


class FetchRedirectError(FetchError):
    """Too many redirects, or one that cannot be followed."""

    code = "fetch.redirects"
    title = "The redirects cannot be followed"


class FetchTooLarge(FetchError):
    """The body, decoded, is over the size cap."""

    code = "fetch.too_large"
    status = 413
    title = "The response is too large"


class FetchTruncated(FetchError):
    """The body ended before its declared end: length, chunk or content coding."""

    code = "fetch.truncated"
    title = "The response is incomplete"
    retryable = True


class FetchEncodingError(FetchError):
    """A content coding that we did not ask for and cannot verify, or a damaged one."""

    code = "fetch.encoding"
    title = "The response's coding cannot be read"


class FetchDigestMismatch(FetchError):
    """The content arrived whole and is not the one whose digest was given."""

    code = "fetch.digest"
    title = "The content does not have the expected digest"


class FetchTypeRefused(FetchError):
    """The content, or what the origin calls it, is of no type among `accept_types`."""

    code = "fetch.type"
    status = 415
    title = "The response's type is not accepted"


class FetchProtocolError(FetchError):
    """The origin does not speak HTTP as RFC 9110 and 9112 have it."""

    code = "fetch.protocol"
    title = "The origin's answer is not valid HTTP"
    retryable = True


# -- delivery.* --------------------------------------------------------------------------------


class DeliveryError(OffloadError):
    """A webhook or a result could not be handed over to its receiver."""

    code = "delivery.failed"
    status = 502
    title = "The delivery failed"


class ReceiverRefused(DeliveryError):
    """The receiver answered with a status that is not a success; redirects are not followed."""

    code = "delivery.status"
    title = "The receiver did not accept it"


class ReceiverGone(DeliveryError):
    """The endpoint answered 410, so nothing more is sent to it."""

    code = "delivery.gone"
    status = 410
    title = "The endpoint is gone"


class AttemptsExhausted(DeliveryError):
    """No attempt of the whole schedule succeeded."""

    code = "delivery.exhausted"
    title = "Every attempt failed"


class EndpointMissing(DeliveryError):
    """No endpoint is configured, or no secret to sign with."""

    code = "delivery.endpoint"
    status = 409
    title = "No endpoint to deliver to"


class NotOneResult(DeliveryError):
    """One URL takes one result, and the item has none or several."""

    code = "delivery.results"
    status = 422
    title = "Not exactly one result to put"


# -- codec.*, image.* --------------------------------------------------------------------------


class CodecError(OffloadError):
    """A compressed stream could not be made or read."""

    code = "codec.failed"
    status = 422
    title = "The compression failed"


class CodecUnknown(CodecError):
    """The content is in none of the compression formats that are read here, or not in the named."""

    code = "codec.unknown"
    status = 415
    title = "Not a known compression format"


class StreamTruncated(CodecError):
    """A compressed stream ends before its end."""

    code = "codec.truncated"
    title = "The compressed stream is cut"


class StreamDamaged(CodecError):
    """A compressed stream breaks its format's rules, or its checksum does not fit."""

    code = "codec.damaged"
    title = "The compressed stream is damaged"


class TrailingData(CodecError):
    """Something that is no part of it follows a compressed stream."""

    code = "codec.trailing_data"
    title = "Something follows the compressed stream"


class ImageError(OffloadError):
    """A picture could not be read or made."""

    code = "image.failed"
    status = 422
    title = "The picture could not be processed"


class ImageUnsupported(ImageError):
    """The content is not a picture of a kind that is decoded here."""

    code = "image.unsupported"
    status = 415
    title = "Not a picture of a supported kind"


class ImageUnreadable(ImageError):
    """The content claims to be a picture and is cut, damaged or inconsistent."""

    code = "image.unreadable"
    title = "The picture is damaged"


# -- archive.* ---------------------------------------------------------------------------------


class ArchiveError(OffloadError):
    """An archive, or a member of one, could not be made or read."""

    code = "archive.failed"
    status = 422
    title = "The archive could not be processed"


class ArchiveUnsupported(ArchiveError):
    """Not an archive of a kind that is read here, or a member that uses what is not."""

    code = "archive.unsupported"
    status = 415
    title = "Not an archive of a supported kind"


class ArchiveDamaged(ArchiveError):
    """The archive contradicts itself, or a member's bytes are not those it was made of."""

    code = "archive.damaged"
    title = "The archive is damaged"


class ArchiveTruncated(ArchiveError):
    """The archive ends before its end."""

    code = "archive.truncated"
    title = "The archive is cut"


class ArchiveTrailing(ArchiveError):
    """Bytes follow the archive's end; they belong to no member and were not read."""

    code = "archive.trailing_data"
    title = "Something follows the archive's end"


class ArchiveOverlap(ArchiveError):
    """Members of a zip share bytes, as those of a bomb do and honest ones never."""

    code = "archive.overlap"
    title = "Members of the archive overlap"


class MemberEncrypted(ArchiveError):
    """The member, or the archive's directory, needs a password."""

    code = "archive.encrypted"
    title = "The member is encrypted"


class MemberPathUnsafe(ArchiveError):
    """The member's path is absolute, climbs with `..`, or is none that can be stored."""

    code = "archive.unsafe_path"
    title = "The member's path is not safe"


class MemberIsLink(ArchiveError):
    """The member is a symbolic or hard link: it has no content of its own."""

    code = "archive.link"
    title = "The member is a link"


class MemberIsSpecial(ArchiveError):
    """The member is a device, a FIFO or a socket."""

    code = "archive.special_file"
    title = "The member is no ordinary file"


class MemberNameTaken(ArchiveError):
    """Two files would get one path in the archive, and `on_collision` is `error`."""

    code = "archive.collision"
    title = "Two members would have one path"


# -- storage.* ---------------------------------------------------------------------------------


class StorageError(OffloadError):
    """Bytes or records could not be kept or read."""

    code = "storage.unavailable"
    status = 503
    title = "The store is not available"
    retryable = True


class StorageFull(StorageError):
    """The free-space floor is reached, or the disk is full."""

    code = "storage.full"
    status = 507
    title = "No space left"


class BlobMissing(StorageError):
    """A record points at bytes that are gone."""

    code = "storage.missing"
    status = 500
    title = "Stored bytes are missing"
    retryable = False


# -- internal.* --------------------------------------------------------------------------------


class InternalError(OffloadError):
    """Our fault."""


class WorkerLost(InternalError):
    """The worker process died while it ran this item alone."""

    code = "internal.worker_lost"
    title = "The worker process died on this item"


class Interrupted(InternalError):
    """The service itself went down under this item too many times."""

    code = "internal.interrupted"
    title = "The work was interrupted too often"


class Stopping(InternalError):
    """The service is being stopped, and the request was not done in the time that was left."""

    code = "internal.stopping"
    status = 503
    title = "The service is being stopped"
    retryable = True


class OperationFailed(InternalError):
    """An operation raised something it does not promise to raise."""

    code = "internal.operation"
    title = "The operation failed"


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
