import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import threading
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.ops.media_type import HEAD_BYTES, _at_a_glance, _by_all_rules, sniff


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind)
    return file.getvalue()


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    return file.getvalue()


def tar_file() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


ZSTD = bytes.fromhex("28b52ffd2005290000") + b"hello"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
LONG_JSON = json.dumps([{"number": number, "text": "é" * 3} for number in range(1000)])

SAMPLES = {
    "image/png": picture("PNG"),
    "image/jpeg": picture("JPEG"),
    "image/webp": picture("WEBP"),
    "image/gif": picture("GIF"),
    "image/tiff": picture("TIFF"),
    "image/avif": picture("AVIF"),
    "image/bmp": picture("BMP"),
    "image/svg+xml": SVG,
    "application/gzip": gzip.compress(b"hello"),
    "application/zstd": ZSTD,
    "application/zlib": zlib.compress(b"hello" * 9),
    "application/x-xz": lzma.compress(b"hello"),
    "application/x-bzip2": bz2.compress(b"hello"),
    "application/zip": zip_file(),
    "application/x-tar": tar_file(),
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "application/json": b'{"a": [1, 2, {"b": null}]}',
    "application/x-ndjson": b'{"a": 1}\n{"a": 2}\n',
    "application/vnd.sqlite3": b"SQLite format 3\x00" + bytes(84),
    "application/wasm": b"\x00asm\x01\x00\x00\x00",
    "text/plain": b"Hello, world. This is a sentence.\n",
    "text/html": b"<!DOCTYPE html><html><body>hello</body></html>",
    "text/xml": b'<?xml version="1.0"?><a/>',
}


@pytest.mark.parametrize("media_type", SAMPLES)
def test_content_has_its_usual_name(media_type):
    assert sniff(SAMPLES[media_type][:HEAD_BYTES]) == media_type


@pytest.mark.parametrize("head", [b"", b"\x00" * 200, b"\xff", b"\x8f\x01\xfe\x90" * 50])
def test_what_is_empty_or_unknown_is_octet_stream(head):
    assert sniff(head) == "application/octet-stream"


def test_json_longer_than_the_head_is_json():
    assert sniff(LONG_JSON.encode()[:HEAD_BYTES]) == "application/json"


def test_text_that_begins_with_a_bracket_is_not_json():
    assert sniff((b"[section]\nkey = value\n" * 1000)[:HEAD_BYTES]) == "text/plain"


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("character", ["é", "€", "🙂"])
def test_text_stays_text_when_the_cut_splits_a_character(shift, character):
    text = "a" * shift + character * HEAD_BYTES
    assert sniff(text.encode()[:HEAD_BYTES]) == "text/plain"


def test_svg_is_found_behind_a_declaration_and_a_comment():
    assert sniff(b'<?xml version="1.0"?>\n<!-- drawn -->\n' + SVG) == "image/svg+xml"


def test_threads_that_ask_together_get_the_same_answers():
    heads = [sample[:HEAD_BYTES] for sample in SAMPLES.values()]
    answers = []

    def ask() -> None:
        answers.extend([[sniff(head) for head in heads] for _ in range(5)])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [list(SAMPLES)] * 20


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(sorted(SAMPLES)))
def test_any_bytes_get_some_name(noise, media_type):
    cut = len(noise) % 17
    assert "/" in sniff(SAMPLES[media_type][:cut] + noise)


def noisy(kind: str, side_px: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side_px, side_px), 90).convert("RGB").save(file, kind)
    return file.getvalue()


PAGE = b"<!DOCTYPE html>\n<html><head><title>a, b</title></head><body>" + b"<p>a, b, c</p>\n" * 300
AT_ONCE = {
    "image/png": noisy("PNG", 60),
    "image/jpeg": noisy("JPEG", 60),
    "image/gif": noisy("GIF", 60),
    "image/webp": noisy("WEBP", 60),
    "application/pdf": SAMPLES["application/pdf"] + b"1 0 obj << /Type /Catalog >> endobj\n" * 99,
    "application/gzip": gzip.compress(random.Random(2).randbytes(5000)),
    "text/html": PAGE,
}


@pytest.mark.parametrize("media_type", AT_ONCE)
@pytest.mark.parametrize("size_bytes", [64, 500, 2000, HEAD_BYTES])
def test_what_is_plain_to_see_needs_no_rules(media_type, size_bytes):
    head = AT_ONCE[media_type][:size_bytes]
    assert _at_a_glance(head) == media_type == _by_all_rules(head)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(AT_ONCE)), st.data())
def test_a_glance_and_all_rules_come_to_the_same(media_type, data):
    head = bytearray(AT_ONCE[media_type])
    for _ in range(data.draw(st.integers(0, 6))):
        head[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    head = bytes(head[: data.draw(st.integers(1, HEAD_BYTES))])
    glance = _at_a_glance(head)
    assert glance in (None, "text/plain") or glance == _by_all_rules(head)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["<!doctype html", "<!DOCTYPE HTML>", "<!DOCTYPE html>\n"]), st.text())
def test_a_page_is_one_at_a_glance_as_by_all_rules(start, text):
    head = (start + text).encode()[:1000]
    assert _at_a_glance(head) in (None, _by_all_rules(head))


def test_a_page_that_could_be_a_table_is_asked_about():
    head = b"<!DOCTYPE html>a,b\n1,2\n3,4\n"
    assert _at_a_glance(head) is None
    assert sniff(head) == "text/csv"


@pytest.mark.parametrize("name", ["%PDF-1.7", "GIF89a", "RIFF0000WEBPVP8 "])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("with_magic", [True, False])
def test_a_tar_is_one_whatever_its_first_member_is_called(name, kind, with_magic):
    header = bytearray(tarfile.TarInfo(name).tobuf(kind))
    if not with_magic:  # as tar wrote it before POSIX
        header[257:265] = bytes(8)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    head = bytes(header) + bytes(1024)
    assert sniff(head) == "application/x-tar" == _by_all_rules(head)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=25)
@given(json_values, st.sampled_from([None, 2]), st.booleans())
def test_the_head_of_json_is_json_whatever_is_in_it(value, indent, ascii_only):
    text = json.dumps([{"a": value}] * 900, indent=indent, ensure_ascii=ascii_only).encode()
    assert sniff(text[:HEAD_BYTES]) == "application/json"


def test_json_that_holds_a_program_is_json():
    program = "import os\nfrom sys import argv\n\ndef main(self):\n    pass\n"
    text = json.dumps({"cells": [{"source": program.splitlines(keepends=True)}] * 100}, indent=1)
    assert sniff(text.encode()[:HEAD_BYTES]) == "application/json"
