"""The service's documents and its operations' options, typed. Written by `make client`. Do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class AttemptDocument(TypedDict):
    """One attempt to deliver an event."""

    at: str
    elapsed_ms: int
    status: int | None
    """HTTP status of the answer; null if none came."""
    error: str | None
    """One of docs/errors.md; null if it succeeded."""
    detail: str | None
    """What went wrong, for people."""
    answer: str
    """The first 512 bytes of the answer's body, as text."""


class CountsDocument(TypedDict):
    """How many items stand where."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int


class DeliveryPage(TypedDict):
    """Deliveries, newest first."""

    next_cursor: str | None
    """Give it as `cursor` for the next page."""
    deliveries: list[DeliveryDocument]


DeliveryStatus: TypeAlias = Literal["pending", "sending", "delivered", "dead"]


class DeliveryDocument(TypedDict):
    """One event on its way to one endpoint."""

    id: str
    """The `webhook-id`: the same at every attempt."""
    event: str
    status: DeliveryStatus
    job_id: str | None
    """Null for a test."""
    item_index: int | None
    """Of an event that is about one item."""
    url: str | None
    """Null for the endpoint that the operator configured."""
    created_at: str
    next_attempt_at: str | None
    """Null unless it is pending."""
    ended_at: str | None
    """When it was delivered, or given up."""
    error: ProblemDocument | None
    """Why it is dead."""
    attempts: list[AttemptDocument]
    """The latest 50, oldest first."""


class FilePage(TypedDict):
    """Files that were stored by themselves, newest first."""

    next_cursor: str | None
    """Give it as `cursor` for the next page."""
    files: list[FileDocument]


class FileDocument(TypedDict):
    """A stored file: an input, a result, or one that was stored by itself."""

    id: str
    name: str
    media_type: str
    """By content; of a text, also by the Content-Type and name that it came with."""
    size_bytes: int
    sha256: str | None
    """Of the content, lower-case hex; null for a file that came in with its job."""
    created_at: str
    expires_at: str | None
    """When it is removed; null while its job is at work. Reading it renews this."""
    href: str
    """Where the content is."""


class ItemPage(TypedDict):
    """Items in input order."""

    next_cursor: str | None
    """Give it as `cursor` for the next page."""
    items: list[ItemDocument]


ItemStatus: TypeAlias = Literal["queued", "running", "succeeded", "failed", "canceled"]


class ItemDocument(TypedDict):
    """One input of a job and what became of it."""

    index: int
    """Position in the request, from 0."""
    status: ItemStatus
    name: str
    url: str | None
    file_id: str | None
    """The input file; null for a URL, and once expired."""
    size_bytes: int | None
    """Of the input file."""
    joins: bool
    """Whether its inputs are the results of all the other items: the last item of a job with a
    step such as `archive`."""
    progress: ProgressDocument | None
    """Of a running item's current step, about once a second; null if untold."""
    results: list[FileDocument]
    facts: dict[str, dict[str, Any]]
    """What each step found out: HTTP status and hops, dimensions, ratio, method."""
    refused: list[RefusalDocument]
    """Parts that failed alone, at most 1,000: members of an archive, variants."""
    pushed: PushDocument | None
    """How it stands with `store`; null without one, and before there is a result."""
    error: ProblemDocument | None
    attempt: int
    started_at: str | None
    """When a worker took it, or its URL began to be fetched; until then it is queued."""
    finished_at: str | None
    elapsed_ms: int | None
    """From start to end of the last attempt."""


JobStatus: TypeAlias = Literal[
    "queued", "running", "succeeded", "partial", "failed", "canceled", "expired"
]


class JobDocument(TypedDict):
    """What was submitted, and where it stands."""

    id: str
    status: JobStatus
    done: bool
    """Whether it is over; the one field to watch."""
    progress: float
    """Share of items that are over; where `items` is given, with what is done of those that
    run."""
    counts: CountsDocument
    steps: list[StepDocument]
    tag: str | None
    metadata: dict[str, Any]
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    """When its files are removed, and, once expired, this record."""
    items: list[ItemDocument] | None
    """All items in input order, where there are few; else null, and `items_truncated`."""
    items_truncated: bool
    """Whether items are left out here; `links.items` has all of them."""
    links: dict[str, str]


class LimitsDocument(TypedDict):
    """What this service was set up to take."""

    upload_max_bytes: int
    upload_max_files: int
    upload_stall_timeout_s: float
    job_max_items: int
    job_max_streamed_items: int
    job_max_streamed_bytes: int
    job_retention_s: float
    wait_max_s: float
    item_timeout_s: float
    item_max_pixels: int
    item_max_output_bytes: int
    item_max_files: int
    fetch_timeout_s: float
    fetch_max_bytes: int
    fetch_max_redirects: int
    fetch_retries: int


class ObjectDocument(TypedDict):
    """One result on its way to an object of a bucket."""

    url: str
    status: DeliveryStatus
    etag: str | None
    """As the bucket says it, quotes included."""
    size_bytes: int | None
    """Of what arrived; null before that."""
    error: ProblemDocument | None
    """What went wrong at the last attempt, or why it is dead."""


class OperationList(TypedDict):
    """Every operation that this service has."""

    operations: list[OperationDocument]


class OperationDocument(TypedDict):
    """One operation: usable as a step of a job, and at its own door."""

    name: str
    summary: str
    door: str
    """Path of its one-shot door."""
    accepts: list[str]
    """Media types that it takes, by content."""
    joins: bool
    """Whether it makes one thing of all the items of a job."""
    runs: Literal["process", "thread", "async"]
    """Where its work runs: process, thread or event loop."""
    params: dict[str, Any]
    """JSON Schema of its parameters."""
    example: dict[str, Any]


class ProblemDocument(TypedDict):
    """RFC 9457 problem details. `code` is stable; `detail` is for people and may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: NotRequired[bool]
    """Whether the same request may succeed later, unchanged."""


class ProgressDocument(TypedDict):
    """How far an item's current step is."""

    done: int
    """Bytes, rows or frames: what the step counts in."""
    total: int


class PushDocument(TypedDict):
    """How it stands with putting an item's results elsewhere; of several, with all together."""

    status: DeliveryStatus
    attempts: int
    next_attempt_at: str | None
    """Null unless it is pending."""
    ended_at: str | None
    """When it was put, or given up."""
    error: ProblemDocument | None
    """What went wrong at the last attempt, or why it is dead."""
    objects: list[ObjectDocument]
    """With `store.s3`, each result in its order; else empty."""


class RefusalDocument(TypedDict):
    """A part of an item that failed alone, while the others went on."""

    name: str
    """Of the part, such as a member of an archive."""
    code: str
    """One of docs/errors.md."""
    detail: str


class StepDocument(TypedDict):
    """One step, with every parameter as it is applied."""

    op: str
    params: dict[str, Any]


class BucketInput(TypedDict):
    """Where results are put in a bucket that the operator named."""

    remote: str
    """The operator's name for it."""
    key: NotRequired[str]
    """Name of each object below the remote's prefix. `{job}`: the job's id. `{index}`: the
    item's, as the job shows it. `{result}`: the result's place among those of its item, from 0.
    `{path}`: its name, with the folders that `extract` found; `{name}`: the last part of that;
    `{stem}` and `{ext}`: that without its suffix, and the suffix with its dot, or nothing.
    `{index:06}` fills up with zeros."""


class StoreInput(TypedDict):
    """Where results are put: `put_url` or `s3`; in a form or a query, a URL alone will do."""

    put_url: NotRequired[str]
    """Takes one result with PUT: a presigned URL, as a rule."""
    s3: NotRequired[BucketInput]
    """Takes every result: a bucket that the operator named, of S3 or another kind."""
    headers: NotRequired[Mapping[str, str]]
    """Sent too: those that were signed, or that the store asks for. A Content-Type here
    replaces the result's own."""


class WebhookInput(TypedDict):
    """Who is told of a job's events; in a form or a query, the URL alone will do."""

    url: str
    events: NotRequired[Sequence[str]]
    """Some of job.succeeded, job.partial, job.failed, job.canceled, job.expired,
    item.succeeded, item.failed, push.succeeded, push.failed. Default: as the operator
    configured, or the first five."""
    secret: NotRequired[str]
    """`whsec_` and the base64 of 24 to 64 random bytes; signs what is sent. Default: the
    operator's. Never shown again."""


class ArchiveStep(TypedDict):
    """Put many files into one zip or tar, compressed or not."""

    op: Literal["archive"]
    format: NotRequired[Literal["zip", "tar", "tar.gz", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4"]]
    """In a zip each file is compressed by itself and can be opened by itself; a compressed tar
    is smaller where files are alike."""
    level: NotRequired[Literal["balanced", "fast", "best"] | int]
    """`fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1 to 9 for
    zip, tar.gz and tar.bz2, 1 to 22 for tar.zst, 0 to 9 for tar.xz, 1 to 12 for tar.lz4. A
    plain tar has none."""
    path: NotRequired[str]
    """Template for the files' paths in the archive. `{path}`: the file's whole path, as
    `extract` left it, or its name. `{folder}`: the folders of that path with a `/` at the end,
    or nothing. `{name}`: its last part; `{stem}` and `{ext}`: that without its suffix, and the
    suffix with its dot (`.tar.gz` whole), or nothing. `{index}`: the file's place, from 1;
    `{index:03}` fills up with zeros. `{{` is a brace. What comes out is made relative and
    storable on any system."""
    on_collision: NotRequired[Literal["number", "error"]]
    """For two files with one path: `number` makes the second `a (2).txt`, `error` refuses all.
    Paths that differ in case only count as one, as they do on Windows and macOS; so does a file
    with a folder of its name."""
    name: NotRequired[str]
    """The archive's own name; the format's suffix is added if it is not there."""
    deterministic: NotRequired[bool]
    """Whether the same files, in the same order, give the same bytes: all carry the time
    1980-01-01. If not, they carry the time (UTC) at which the archive was made."""


class CompressStep(TypedDict):
    """Compress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4."""

    op: Literal["compress"]
    format: NotRequired[
        Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
    ]
    """`gzip`, `zlib` and `deflate-raw` are the same codec in different wrappers. `auto`
    compresses samples of the file and takes the format that saves most for its time, gzip
    unless another is smaller; a file that hardly shrinks is then passed on as it is."""
    level: NotRequired[Literal["balanced", "fast", "best"] | int]
    """`fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1 to 9 for
    gzip, zlib, deflate-raw and bz2, 1 to 22 for zstd, 0 to 11 for br, 0 to 9 for xz, 1 to 12
    for lz4. A number compresses about as well as the usual tool's level of that number or
    better, usually sooner. `auto` takes the three names only."""
    skip_if_larger: NotRequired[bool]
    """Pass the file on as it is, with its name and type, if the result would not be smaller."""
    long: NotRequired[bool | int]
    """For zstd: look for repetitions further back. `true` is a window of 128 MiB, a number from
    10 to 27 one of 2 to that power bytes. Whoever reads the result needs as much memory; the
    zstd tool allows it, HTTP clients stop at 8 MiB (23)."""


class DecompressStep(TypedDict):
    """Decompress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4."""

    op: Literal["decompress"]
    format: NotRequired[
        Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
    ]
    """`auto` goes by content. `br` and `deflate-raw` have no signature, so they have to be
    named."""
    max_output_bytes: NotRequired[int]
    """Most bytes that the result may have; the service's own limit holds too."""
    max_ratio: NotRequired[float]
    """Most bytes of the result for each byte of the file, once the result is over 16 MiB.
    Deflate cannot exceed 1032; other formats come to 2000 only with content that is nearly all
    one repetition."""


class ExtractStep(TypedDict):
    """Take the files out of a zip or a tar, compressed or not."""

    op: Literal["extract"]
    include: NotRequired[Sequence[str]]
    """Only members that one of these globs takes; all if empty. `*` stands for any characters
    but `/`, `?` for one, `[a-z]` for one of a set, and `**` as a whole part for any number of
    folders, none included. A pattern without `/` is held against the last part of the path,
    whatever folder it is in; one with `/` against the whole path; one that ends in `/` takes
    all that is in that folder. Upper and lower case differ. A list, or one string with commas
    between."""
    exclude: NotRequired[Sequence[str]]
    """Not the members that one of these globs takes, even if `include` does."""
    list_only: NotRequired[bool]
    """Only tell what is in it: `members` in the facts, with `name`, `kind`, `size_bytes` as the
    archive states it, `compressed_bytes` where members are compressed one by one, and
    `refused`, the code of the reason, where a member would be left out."""
    max_entries: NotRequired[int]
    """An archive with more members, of all kinds, is refused. The operator's limit on files
    stands above it."""
    max_output_bytes: NotRequired[int]
    """Most that the files may come to together, counted as they are written. The operator's
    limit stands above it, and is used if this is not given."""
    max_ratio: NotRequired[float]
    """How many times its own size an archive may give, counted as it is decompressed; the first
    16 MiB are always allowed. Deflate cannot exceed 1032."""


class FetchStep(TypedDict):
    """Fetch URLs, each an item of its own, through the address guard."""

    op: Literal["fetch"]
    timeout_s: NotRequired[float]
    """Deadline for one URL, redirects and retries included, in seconds. Default and upper
    bound: the service's own setting."""
    connect_timeout_s: NotRequired[float]
    """Longest wait for a connection, name and TLS included, in seconds. Default and upper
    bound: the service's own setting."""
    read_timeout_s: NotRequired[float]
    """Longest silence of an origin, in seconds. Default and upper bound: the service's own
    setting."""
    max_bytes: NotRequired[int]
    """Largest accepted body after content decoding, in bytes. Default and upper bound: the
    service's own setting."""
    max_redirects: NotRequired[int]
    """Redirects followed; each hop is judged again by the address guard. Default and upper
    bound: the service's own setting."""
    retries: NotRequired[int]
    """Further tries after a connection error, a cut body, 429, 502, 503 or 504. Default and
    upper bound: the service's own setting."""
    concurrency: NotRequired[int]
    """URLs of this batch under way at once, with the steps that follow. Default and upper
    bound: the service's own setting."""
    per_host_concurrency: NotRequired[int]
    """Requests of this batch under way to one scheme, host and port. Default and upper bound:
    the service's own setting."""
    accept_types: NotRequired[Sequence[str]]
    """Media types that are kept, such as `image/*` or `text/csv`; separated by commas in a
    query. The content must be of one of them, and so must what the origin calls it, unless that
    is nothing or `application/octet-stream`. Empty: all."""
    dedupe: NotRequired[bool]
    """Fetch a URL that the batch has more than once, with the same headers, digest and
    `max_bytes`, only once; each of its items has the result."""
    on_error: NotRequired[Literal["continue", "fail"]]
    """`fail`: the first item that fails cancels what is unfinished of the batch."""
    if_changed: NotRequired[bool]
    """Ask only for what has changed since this client last fetched the same URL with the same
    headers and this option; on 304 the stored bytes are the result."""


class Overlay(TypedDict):
    """A picture that is laid on the result: a stored file's, or a URL's."""

    file_id: NotRequired[str]
    """Of a stored file of yours."""
    url: NotRequired[str]
    """Fetched as any URL is, once for the job."""
    position: NotRequired[
        Literal[
            "center",
            "north",
            "northeast",
            "east",
            "southeast",
            "south",
            "southwest",
            "west",
            "northwest",
        ]
    ]
    """Where it lies."""
    opacity: NotRequired[float]
    """1 covers what lies below, 0.5 lets half through."""
    scale: NotRequired[float]
    """Its width, as a share of the result's. If not given, it has its own size. One that would
    not fit is made smaller until it does."""
    offset_x: NotRequired[int]
    """Pixels from the left or right side that `position` names, or to the right of the middle;
    with `tiled` between two."""
    offset_y: NotRequired[int]
    """Pixels from the top or bottom that `position` names, or below the middle; with `tiled`
    between two."""
    tiled: NotRequired[bool]
    """Again and again, all over the result."""


class Variant(TypedDict):
    """One of several results. What it does not say is as it stands beside `variants`."""

    crop: NotRequired[Sequence[int]]
    """Cut this out before anything else: left, top, width and height in pixels of the upright
    picture, as a list or as `10,20,300,200`. It must lie inside the picture."""
    rotate: NotRequired[float]
    """Turn by so many degrees clockwise. Multiples of 90 lose nothing; at others the corners
    that appear are filled with `background`."""
    flip: NotRequired[Literal["none", "horizontal", "vertical", "both"]]
    """Mirror, after turning: `horizontal` swaps left and right, `vertical` top and bottom."""
    width: NotRequired[int]
    """Width of the box, in pixels."""
    height: NotRequired[int]
    """Height of the box, in pixels. Given only one of both, the other follows from the
    picture's ratio; given neither, the picture keeps its size."""
    fit: NotRequired[Literal["inside", "outside", "cover", "contain", "pad", "fill"]]
    """`inside`: the largest size that fits into the box, ratio kept. `outside`: the smallest
    that covers it, ratio kept, nothing cut. `cover`: as `outside`, then what overhangs the box
    is cut by `gravity`. `contain`: as `inside`, then padded with `background` to exactly the
    box. `pad`: as `inside`, then padded to the ratio of the box; a picture that is smaller than
    the box gets no more frame than that takes. `fill`: exactly the box, ratio ignored. All but
    `inside` need width and height."""
    enlarge: NotRequired[bool]
    """Whether a picture smaller than the box may grow. If not, `inside` and `outside` leave it
    as it is, `cover` cuts only the side that overhangs, so that the result may be smaller than
    the box, `contain` and `pad` only pad it. `fill` always gives exactly the box."""
    gravity: NotRequired[
        Literal[
            "center",
            "north",
            "northeast",
            "east",
            "southeast",
            "south",
            "southwest",
            "west",
            "northwest",
            "attention",
            "entropy",
        ]
    ]
    """Which part `cover` keeps, and where `contain` and `pad` put the picture. `attention`
    keeps what catches the eye (edges, skin, strong colours), `entropy` what has the most
    detail; both pad as `center`."""
    background: NotRequired[str]
    """Colour as `#rgb`, `#rrggbb`, or with alpha as `#rgba`, `#rrggbbaa`: of padding, of the
    corners that turning opens, and of what shows through transparent parts in a JPEG (where its
    own alpha is ignored) or with `flatten`."""
    flatten: NotRequired[bool]
    """Lay the picture on `background` also where the format has transparency."""
    blur: NotRequired[float]
    """Gaussian blur of the resized picture, sigma in pixels."""
    sharpen: NotRequired[float]
    """Sharpen the lightness of the resized picture; sigma in pixels of the unsharp mask."""
    overlay: NotRequired[Overlay]
    """A watermark: a picture that is laid on the result, on each of its frames. In a form or a
    query as JSON text."""
    format: NotRequired[Literal["keep", "auto", "jpeg", "png", "webp", "avif", "gif", "tiff"]]
    """`keep`: the source's own, JPEG for a HEIC (WebP for one with transparency), PNG for BMP
    and ICO. `auto`: PNG for drawings (few colours, hard edges), JPEG for photographs, WebP for
    what is cut out of one and for animations; see `auto_webp`. Facts say which and why."""
    auto_webp: NotRequired[Literal["needed", "preferred", "never"]]
    """Of format `auto`: `preferred` is WebP for all photographs, `never` is PNG for what is cut
    out of one, and GIF for animations. If not given, the request's Accept header decides:
    `preferred` if it names `image/webp`, `never` if it names other picture types only."""
    quality: NotRequired[int]
    """Of JPEG, WebP (80 if not given) and AVIF (60). PNG and TIFF are lossless, GIF has a
    palette: they have no quality."""
    lossless: NotRequired[bool]
    """Every pixel of the resized picture as it is: for WebP and AVIF, which can be either. PNG
    and TIFF always are; JPEG and GIF cannot, and are refused. `auto` then takes WebP or PNG."""
    progressive: NotRequired[bool]
    """Coarse first, then finer: JPEG, and interlaced PNG and GIF. The other formats have no
    such thing."""
    effort: NotRequired[int]
    """How long to try for a smaller file, mapped to the codec's own scale (TIFF has none).
    WebP, AVIF and GIF take less than asked if the time for an item would not suffice; facts
    then have the `effort` that was."""
    metadata: NotRequired[Literal["strip", "copyright", "keep"]]
    """`copyright`: keep who made it and whose it is (EXIF Copyright and Artist, the same in
    IPTC, XMP's rights), written as EXIF and XMP, and nothing else. `keep`: EXIF, XMP, IPTC and
    comments, without the embedded thumbnail. A GIF holds none of it, a TIFF no EXIF."""
    icc: NotRequired[Literal["srgb", "keep"]]
    """`srgb`: colours are converted to sRGB by the picture's profile, and the profile left out.
    `keep`: colours and profile stay as they are, except of CMYK, and in a GIF, which cannot
    hold one."""
    animation: NotRequired[Literal["keep", "first"]]
    """`keep`: all frames of an animated GIF or WebP, with delays and loop count, if the result
    is GIF or WebP. `first`: the first frame only. Other formats always get the first; of a TIFF
    or AVIF with several pictures it is all that is read."""
    max_frames: NotRequired[int]
    """Keep at most this many frames, from the first on."""
    name: str
    """Added to the result's name: `photo-<name>.jpg`. Unique in the list."""


class ImageStep(TypedDict):
    """Resize, crop, turn, pad or convert a picture, into one or many sizes and formats."""

    op: Literal["image"]
    crop: NotRequired[Sequence[int]]
    """Cut this out before anything else: left, top, width and height in pixels of the upright
    picture, as a list or as `10,20,300,200`. It must lie inside the picture."""
    rotate: NotRequired[float]
    """Turn by so many degrees clockwise. Multiples of 90 lose nothing; at others the corners
    that appear are filled with `background`."""
    flip: NotRequired[Literal["none", "horizontal", "vertical", "both"]]
    """Mirror, after turning: `horizontal` swaps left and right, `vertical` top and bottom."""
    width: NotRequired[int]
    """Width of the box, in pixels."""
    height: NotRequired[int]
    """Height of the box, in pixels. Given only one of both, the other follows from the
    picture's ratio; given neither, the picture keeps its size."""
    fit: NotRequired[Literal["inside", "outside", "cover", "contain", "pad", "fill"]]
    """`inside`: the largest size that fits into the box, ratio kept. `outside`: the smallest
    that covers it, ratio kept, nothing cut. `cover`: as `outside`, then what overhangs the box
    is cut by `gravity`. `contain`: as `inside`, then padded with `background` to exactly the
    box. `pad`: as `inside`, then padded to the ratio of the box; a picture that is smaller than
    the box gets no more frame than that takes. `fill`: exactly the box, ratio ignored. All but
    `inside` need width and height."""
    enlarge: NotRequired[bool]
    """Whether a picture smaller than the box may grow. If not, `inside` and `outside` leave it
    as it is, `cover` cuts only the side that overhangs, so that the result may be smaller than
    the box, `contain` and `pad` only pad it. `fill` always gives exactly the box."""
    gravity: NotRequired[
        Literal[
            "center",
            "north",
            "northeast",
            "east",
            "southeast",
            "south",
            "southwest",
            "west",
            "northwest",
            "attention",
            "entropy",
        ]
    ]
    """Which part `cover` keeps, and where `contain` and `pad` put the picture. `attention`
    keeps what catches the eye (edges, skin, strong colours), `entropy` what has the most
    detail; both pad as `center`."""
    background: NotRequired[str]
    """Colour as `#rgb`, `#rrggbb`, or with alpha as `#rgba`, `#rrggbbaa`: of padding, of the
    corners that turning opens, and of what shows through transparent parts in a JPEG (where its
    own alpha is ignored) or with `flatten`."""
    flatten: NotRequired[bool]
    """Lay the picture on `background` also where the format has transparency."""
    blur: NotRequired[float]
    """Gaussian blur of the resized picture, sigma in pixels."""
    sharpen: NotRequired[float]
    """Sharpen the lightness of the resized picture; sigma in pixels of the unsharp mask."""
    overlay: NotRequired[Overlay]
    """A watermark: a picture that is laid on the result, on each of its frames. In a form or a
    query as JSON text."""
    format: NotRequired[Literal["keep", "auto", "jpeg", "png", "webp", "avif", "gif", "tiff"]]
    """`keep`: the source's own, JPEG for a HEIC (WebP for one with transparency), PNG for BMP
    and ICO. `auto`: PNG for drawings (few colours, hard edges), JPEG for photographs, WebP for
    what is cut out of one and for animations; see `auto_webp`. Facts say which and why."""
    auto_webp: NotRequired[Literal["needed", "preferred", "never"]]
    """Of format `auto`: `preferred` is WebP for all photographs, `never` is PNG for what is cut
    out of one, and GIF for animations. If not given, the request's Accept header decides:
    `preferred` if it names `image/webp`, `never` if it names other picture types only."""
    quality: NotRequired[int]
    """Of JPEG, WebP (80 if not given) and AVIF (60). PNG and TIFF are lossless, GIF has a
    palette: they have no quality."""
    lossless: NotRequired[bool]
    """Every pixel of the resized picture as it is: for WebP and AVIF, which can be either. PNG
    and TIFF always are; JPEG and GIF cannot, and are refused. `auto` then takes WebP or PNG."""
    progressive: NotRequired[bool]
    """Coarse first, then finer: JPEG, and interlaced PNG and GIF. The other formats have no
    such thing."""
    effort: NotRequired[int]
    """How long to try for a smaller file, mapped to the codec's own scale (TIFF has none).
    WebP, AVIF and GIF take less than asked if the time for an item would not suffice; facts
    then have the `effort` that was."""
    metadata: NotRequired[Literal["strip", "copyright", "keep"]]
    """`copyright`: keep who made it and whose it is (EXIF Copyright and Artist, the same in
    IPTC, XMP's rights), written as EXIF and XMP, and nothing else. `keep`: EXIF, XMP, IPTC and
    comments, without the embedded thumbnail. A GIF holds none of it, a TIFF no EXIF."""
    icc: NotRequired[Literal["srgb", "keep"]]
    """`srgb`: colours are converted to sRGB by the picture's profile, and the profile left out.
    `keep`: colours and profile stay as they are, except of CMYK, and in a GIF, which cannot
    hold one."""
    animation: NotRequired[Literal["keep", "first"]]
    """`keep`: all frames of an animated GIF or WebP, with delays and loop count, if the result
    is GIF or WebP. `first`: the first frame only. Other formats always get the first; of a TIFF
    or AVIF with several pictures it is all that is read."""
    max_frames: NotRequired[int]
    """Keep at most this many frames, from the first on."""
    variants: NotRequired[Sequence[Variant]]
    """Several results out of one decode: each has a `name` and any of the other parameters;
    those it leaves out are as given beside `variants`. In a form or a query, as JSON text. A
    variant that cannot be made does not keep the others from it."""


class InspectStep(TypedDict):
    """Tell what a file is: type, size, digests, and what its content says of itself."""

    op: Literal["inspect"]
    digests: NotRequired[Sequence[Literal["sha256", "sha512", "sha1", "md5", "crc32"]]]
    """Which checksums to compute, hexadecimal. As a list, or in a query separated by commas.
    `sha1` and `md5` are for comparing with old records, not against forgery."""
    verify: NotRequired[bool]
    """Whether to decode a picture whole, to tell if it is damaged further down. Done up to the
    pixel limit. Archives and compressed files are never decoded for that."""


class OptimizeStep(TypedDict):
    """Make a picture's file as small as it gets without looking any different."""

    op: Literal["optimize"]
    mode: NotRequired[Literal["lossy", "lossless"]]
    """`lossy`: may differ by what is not seen, see `target_ssim`; in 8-bit sRGB. `lossless`:
    exactly the same pixels, depth and colour profile."""
    target_ssim: NotRequired[float]
    """How like the original a lossy result has to be: multi-scale SSIM in CIE L*a*b* with
    DSSIM's pooling, 1 for identical. At 0.998 differences are not seen when both flicker in one
    place, at 0.995 not when flipped to and fro, at 0.99 hardly side by side. Of a large
    picture, the worst part counts."""
    target_bytes: NotRequired[int]
    """If given, the result has at most so many bytes and is as like the original as that
    allows, whatever `target_ssim` says. An input that fits stays as it is, or gets smaller
    without loss."""
    formats: NotRequired[Sequence[Literal["keep", "jpeg", "png", "webp", "avif"]]]
    """What may be written; the smallest is taken. `keep` is the input's own format: a GIF or
    TIFF is then only coded better; of what is read and not written, JPEG or PNG. If not given,
    what the request's Accept header names (`image/webp`, `image/avif`) is tried beside `keep`.
    As a list, or in a query separated by commas."""
    metadata: NotRequired[Literal["strip", "copyright", "keep"]]
    """`copyright`: keep who made it and whose it is, as the operation `image` does. `keep`:
    EXIF, XMP and IPTC go with the picture. What decides its looks, orientation and colours, is
    never lost. An input that is given back has all it had."""


Step: TypeAlias = "ArchiveStep | CompressStep | DecompressStep | ExtractStep | FetchStep | ImageStep | InspectStep | OptimizeStep"
