"""How a line is made safe, and how many there are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.logs import MAX_CHARS, Sparingly, clean


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("plain ü €", "plain ü €"),
        ("two\nlines\r\t\0", "two\\nlines\\r\\t\\x00"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\x9b0m"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("half \ud800", "half \\ud800"),
        ("GET https://s3.test/b/k?X-Sig=abc&x=1 failed", "GET https://s3.test/b/k?… failed"),
        ("('https://u:p@h.test/k?sig=abc', 1)", "('https://…h.test/k?…', 1)"),
        ("http://h/?a=b?c=d", "http://h/?…"),
        ("what?", "what?"),
    ],
)
def test_what_comes_from_outside_is_written_so_that_it_does_no_harm(given: str, said: str) -> None:
    assert clean(given) == said


def test_a_long_text_is_cut_in_its_middle() -> None:
    said = clean("a" * 10_000 + "z" * 10_000)
    assert len(said) < MAX_CHARS + 50
    assert said.startswith("aaa")
    assert said.endswith("zzz")


@pytest.mark.parametrize("piece", ["?", "?x", "://", "://a@", "@", "://?=", "\n"])
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    clean(piece * 20_000, 60_000)
    assert time.process_time() - started < 0.5


def test_lines_of_a_kind_come_sparingly_and_none_is_forgotten() -> None:
    now = 0.0
    some = Sparingly(per_minute=2, clock=lambda: now)
    assert [some.held_back() for _ in range(5)] == [0, 0, None, None, None]
    now = 59.9
    assert some.held_back() is None
    now = 60.0
    assert [some.held_back() for _ in range(3)] == [4, 0, None]


def test_a_log_that_cannot_be_written_harms_nobody() -> None:
    work = (
        "import structlog; from app.logs import *; configure_logging(LogSettings());"
        "structlog.get_logger().error('lost'); print('went on', flush=True)"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert done.stdout == b"went on\n"
