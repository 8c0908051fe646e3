"""How log lines look: one format for all that is said, by libraries and children too.

In JSON every line that leaves the process, on either stream, is one object. Nothing from outside
breaks out of its line: texts are cut, control characters are written as escapes, and of URLs the
query and the password are left out, since a signed one is a secret.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import secrets
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TextIO

import structlog
from pydantic import BaseModel, Field

Level = Literal["debug", "info", "warning", "error"]

MAX_CHARS = 2_000
"""Of one value in a line."""
MAX_LONG_CHARS = 20_000
"""Of a traceback, of what a failure has to say for the operator, and of what was written past the
log at once."""
_LONG = ("detail", "text")
REQUEST_ID_HEADER = b"x-request-id"
QUIET_S = 0.05
"""What is written past the log within this long of each other is one line of it."""

# C0 and C1 controls, and what turns or breaks the line on a screen: Unicode's separators and
# directions. Half a surrogate pair is no text in any encoding.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SECRET_OF_URL = re.compile(r"(?<=://)[^\s/?#'\"@]*@|(?<=\?)[^\s'\"<>]+")

log = structlog.get_logger(__name__)


class LogSettings(BaseModel):
    """OFFLOAD_LOG_*: what is said of the work, and how."""

    format: Literal["console", "json"] = Field("console", description="How log lines look.")
    level: Level = Field("info", description="Least level of the lines that are written.")
    access: Level = Field(
        "info",
        description="Level of the line of each request; that of a health check that went well is "
        "`debug`.",
    )
    items: Level = Field(
        "info",
        description="Level of the line of each ended item; that of a failure inside the service "
        "is `error`.",
    )


def number_of(level: Level) -> int:
    """Give a level as the number that `logging` has for it."""
    return logging.getLevelNamesMapping()[level.upper()]


def new_request_id() -> str:
    """Make an id for a request that brought none."""
    return f"req_{secrets.token_hex(12)}"


class Sparingly:
    """Lets only so many lines of a kind through, and counts the others."""

    def __init__(self, per_minute: int = 30, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how many lines there may be in a minute."""
        self._per_minute = per_minute
        self._clock = clock
        self._began = clock()
        self._passed = 0
        self._held_back = 0

    def held_back(self) -> int | None:
        """Give None if there is to be no line now, else how many were held back before it."""
        if self._clock() - self._began >= 60:
            self._began, self._passed = self._clock(), 0
        if self._passed >= self._per_minute:
            self._held_back += 1
            return None
        self._passed += 1
        held_back, self._held_back = self._held_back, 0
        return held_back


# -- the look of a line --------------------------------------------------------------------------


def configure_logging(settings: LogSettings) -> None:
    """Send this service's and its libraries' lines to standard error, in one look.

    In JSON, both standard streams of the process become the log's: what anybody else writes to
    them, a child or a C library, is a line `stray_output`.
    """
    as_json = settings.format == "json"
    said = _Streams.taken() if as_json else None
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        _in_one_line,
        _with_node,
        _as_json if as_json else _console(),
    ]
    handler = logging.StreamHandler(said.err if said else None)
    # Our own lines go past `logging`, at half its cost; libraries' lines come through it.
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(number_of(settings.level)),
        logger_factory=partial(_Lines, handler),
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=number_of(settings.level), handlers=[handler])
    logging.captureWarnings(capture=True)
    # It warns of every malformed body, and strangers send those.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if said:
        said.listen()


class _Lines:
    """Writes lines where a handler does. As with the handler, a stream that fails harms nobody."""

    def __init__(self, handler: logging.StreamHandler[TextIO], *_: Any) -> None:
        self._handler = handler

    def info(self, line: str) -> None:
        with self._handler.lock or nullcontext(), suppress(OSError, ValueError):
            self._handler.stream.write(line + "\n")
            self._handler.stream.flush()

    debug = warning = error = critical = info


def _console() -> structlog.dev.ConsoleRenderer:
    # The default formatter of exceptions shows local variables: keys and request bodies too.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _as_json(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
    return json.dumps(event)  # structlog's own passes a default: an encoder made for each line


def _in_one_line(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    first, *more = str(event["event"]).split("\n", 1)
    if more:  # a traceback that somebody logs as a text
        event["event"] = first
        event["exception"] = "\n".join([*more, *filter(None, [event.get("exception")])])
    for name, value in event.items():
        if name == "exception":
            event[name] = _indented(value)
        elif not isinstance(value, bool | int | float | None):
            text = value if isinstance(value, str) else repr(value)
            event[name] = clean(text, MAX_LONG_CHARS if name in _LONG else MAX_CHARS)
    return event


def name_node(node: str) -> None:
    """Have all further lines say which node they are of."""
    _this_node["node"] = node


_this_node: dict[str, str] = {}


def _with_node(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.update(_this_node)  # behind what makes values fit for a line: this one is
    return event


def clean(text: str, max_chars: int = MAX_CHARS) -> str:
    """Make a text from anywhere fit for a line: cut, without secrets of URLs, all printable."""
    plain = len(text) <= max_chars and text.isascii() and text.isprintable()
    if plain and "?" not in text and "@" not in text:
        return text  # nearly all are: both searches together cost ten times this look
    return _UNPRINTABLE.sub(_escaped, _without_secrets(text, max_chars))


def _indented(trace: str) -> str:
    """Keep a traceback's lines, so that none can pass for a line of the log."""
    lines = _without_secrets(trace, MAX_LONG_CHARS).split("\n")
    return "\n".join("  " + _UNPRINTABLE.sub(_escaped, line) for line in lines)


def _without_secrets(text: str, max_chars: int) -> str:
    if len(text) > max_chars:
        half = max_chars // 2
        text = f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"
    return _SECRET_OF_URL.sub("…", text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


# -- lines outside the log -----------------------------------------------------------------------


def say(event: str, text: str, **more: str | int) -> None:
    """Print on standard output: a text for people, or, where logs are JSON, the event and more."""
    if _Streams.now is None:
        print(text, flush=True)  # noqa: T201 - standard output is what it is for
    else:
        print(_line("info", event, **more), file=_Streams.now.out, flush=True)


def complain(text: str, *, as_json: bool) -> None:
    """Print on standard error, also before logging is set up, why the service does not start."""
    stream = _Streams.now.err if _Streams.now else sys.stderr
    text = clean(text)
    line = _line("error", "not_started", detail=text) if as_json else text
    print(line, file=stream, flush=True)


def give_streams_back() -> None:
    """Log what is left of the stray output, where the process ends without its exit handlers."""
    if _Streams.now is not None:
        _Streams.now.give_back()


def _line(level: Level, event: str, **more: str | int) -> str:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": event, **more, "level": level, "timestamp": at, **_this_node})


class _Streams:
    """The process's own standard streams, and the pipe that has taken their place."""

    now: _Streams | None = None

    def __init__(self) -> None:
        self.out = self._kept(1)
        self.err = self._kept(2)
        self._read, write = os.pipe()
        for number in (1, 2):
            os.dup2(write, number)
        os.close(write)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._relay, name="stray-output", daemon=True)

    @staticmethod
    def _kept(number: int) -> TextIO:
        return os.fdopen(os.dup(number), "w", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def taken(cls) -> _Streams:
        """Put the pipe into both streams' place, once."""
        if cls.now is None:
            cls.now = cls()
        return cls.now

    def listen(self) -> None:
        """Relay what is written into the pipe, until the process ends."""
        self._thread.start()
        atexit.register(self.give_back)

    def give_back(self) -> None:
        """Relay what is left, and put both streams back into their place; once."""
        sys.stdout.flush()
        os.dup2(self.out.fileno(), 1)
        os.dup2(self.err.fileno(), 2)
        os.close(self._stop_write)
        self._thread.join(1)

    def _relay(self) -> None:
        """Make one line of what comes without a pause: a traceback is written in many pieces."""
        said = b""
        while True:
            ready, _, _ = select.select(
                [self._read, self._stop_read], [], [], QUIET_S if said else None
            )
            more = os.read(self._read, MAX_LONG_CHARS) if self._read in ready else b""
            said += more
            if more and len(said) < MAX_LONG_CHARS:
                continue
            if text := said.decode(errors="backslashreplace").strip():
                log.warning("stray_output", text=text)
            said = b""
            if self._stop_read in ready and not more:
                return
