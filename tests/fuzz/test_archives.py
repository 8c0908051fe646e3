"""Archives that are spoiled, and archives whose every field is chosen by chance."""

import bz2
import gzip
import io
import lzma
import random
import struct
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import lz4.frame
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import OffloadError
from app.ops.archive import ArchiveParams, archive
from app.ops.archives import globs
from app.ops.archives.names import MAX_COMPONENT_BYTES, MAX_PATH_BYTES, Names, safe_path
from app.ops.base import Limits, Source, Work
from app.ops.extract import ExtractParams, extract
from tests.fuzz.budget import BUDGET_S, mutated, rounds
from tests.memory import peak_kib
from tests.ops.raw_archives import (
    END,
    Raw,
    overlapping_zip,
    pax_header,
    plain_tar,
    raw_zip,
    tar_file,
    tar_header,
    wide_zip,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.fuzz

LIMITS = Limits(max_output_bytes=50_000_000, max_files=500)
PROPERTY = settings(
    max_examples=max(100, int(BUDGET_S * 100)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)

DICE = random.Random(3)
FILES = {
    "a.txt": b"some text " * 300,
    "folder/b.bin": DICE.randbytes(3_000),
    "folder/é.log": b"".join(b"%d line\n" % n for n in range(500)),
    "empty": b"",
}


def zipped(method: int) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as opened:
        for name, content in FILES.items():
            opened.writestr(name, content)
    return sink.getvalue()


TAR = plain_tar(FILES)
GNU_TAR = plain_tar(FILES | {"long/" * 30 + "name": b"x" * 700}, tarfile.GNU_FORMAT)
CHECKED = {
    "deflate": zipped(zipfile.ZIP_DEFLATED),
    "stored": zipped(zipfile.ZIP_STORED),
    "bzip2": zipped(zipfile.ZIP_BZIP2),
    "lzma": zipped(zipfile.ZIP_LZMA),
    "zip64": wide_zip(*(Raw(name.encode(), content) for name, content in FILES.items())),
    "tar.gz": gzip.compress(TAR),
    "tar.zst": zstd.compress(TAR, options={zstd.CompressionParameter.checksum_flag: 1}),
    "tar.xz": lzma.compress(TAR),
    "tar.bz2": bz2.compress(TAR),
    "tar.lz4": lz4.frame.compress(TAR, content_checksum=True),
}
"""With checksums over the content: what comes out is right, or does not come out."""
UNCHECKED = {
    "tar": TAR,
    "gnu": GNU_TAR,
    "odd": (
        pax_header((b"path", b"p"), (b"size", b"5"))
        + tar_file(b"x", b"12345")
        + tar_header(b"link", kind=b"2", link=b"/etc")
        + pax_header((b"GNU.sparse.map", b"1,2,10,3"), (b"GNU.sparse.size", b"20"))
        + tar_file(b"sparse", b"abcde")
        + tar_header(b"old sparse", 512, kind=b"S", at386=b"00000000000\x0000000001000\0")
        + bytes(512)
        + tar_file(b"end", b"x")
        + END
    ),
    "bomb": overlapping_zip(10, 10_000),
}


def extracted(content: bytes, **params) -> dict[str, bytes] | None:
    """Extract; None if that is refused. Anything but an `OffloadError` is a failure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        folder.mkdir()
        path = Path(name) / "source"
        path.write_bytes(content)
        source = Source(path, "source", "application/octet-stream", len(content))
        try:
            result = extract(Work((source,), folder, LIMITS), ExtractParams(**params))
        except OffloadError:
            result = None
        assert {path.name for path in Path(name).iterdir()} == {"folder", "source"}
        if result is None:
            return None
        contents = {output.name: output.path.read_bytes() for output in result.outputs}
        assert len(contents) == len(result.outputs)
        assert {output.path.parent for output in result.outputs} <= {folder}
    for name in contents:
        assert_storable(name)
    return contents


def assert_storable(name: str) -> None:
    path = PurePosixPath(name)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert str(path) == name
    assert name.isprintable()
    assert all(len(part.encode()) <= MAX_COMPONENT_BYTES for part in path.parts)


def test_spoiled_archives_give_what_went_in_or_nothing():
    before_kib = peak_kib()
    seeds = list(CHECKED.values())
    right = set(FILES.values())
    for chance in rounds(1):
        contents = extracted(mutated(chance.choice(seeds), chance))
        assert contents is None or set(contents.values()) <= right
    assert peak_kib() - before_kib < 300_000


def test_spoiled_tars_and_bombs_are_survived():
    before_kib = peak_kib()
    seeds = [*UNCHECKED.values(), *CHECKED.values()]
    for chance in rounds(2):
        content = mutated(chance.choice(seeds), chance)
        if chance.random() < 0.3:
            other = chance.choice(seeds)
            content = content[: chance.randrange(len(content) + 1)] + other
        extracted(content, list_only=chance.random() < 0.2)
        if chance.random() < 0.2:
            extracted(gzip.compress(content, 1))
    assert peak_kib() - before_kib < 300_000


def test_tars_with_mended_checksums_are_survived():
    """Spoiled headers that pass for headers, so that what is behind the checksum is reached."""
    for chance in rounds(3):
        content = bytearray(UNCHECKED[chance.choice(("tar", "gnu", "odd"))])
        for _ in range(chance.randrange(1, 5)):
            at = 512 * chance.randrange(len(content) // 512)
            header = content[at : at + 512]
            if header[257:262] != b"ustar":
                continue
            place = chance.choice((0, 100, 124, 135, 156, 157, 257, 345, 386, 482, 483))
            spoiled = mutated(bytes(header[place : place + 12]), chance)[:12]
            header[place : place + len(spoiled)] = spoiled
            header = header[:512].ljust(512, b"\0")
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
            content[at : at + 512] = header
        extracted(bytes(content))


SIZES = st.one_of(st.integers(0, 300), st.sampled_from([2**16 - 1, 2**31, 2**32 - 1]))
LIES = st.fixed_dictionaries(
    {},
    optional={
        "size": SIZES,
        "compressed": SIZES,
        "crc": SIZES,
        "method": st.sampled_from([0, 8, 9, 12, 14, 93, 99]),
        "flags": st.integers(0, 0xFFFF),
        "name": st.binary(max_size=20),
        "extra": st.one_of(
            st.binary(max_size=30),
            st.lists(st.integers(0, 2**64 - 1), max_size=3).map(
                lambda v: struct.pack(f"<HH{len(v)}Q", 1, 8 * len(v), *v)
            ),
        ),
    },
)
FAR = st.integers(0, 2**64 - 1).map(
    lambda place: {"offset": 2**32 - 1, "extra": struct.pack("<HHQ", 1, 8, place)}
)
MEMBERS = st.builds(
    Raw,
    name=st.binary(max_size=20),
    data=st.binary(max_size=100),
    method=st.sampled_from([0, 8]),
    mode=st.sampled_from([0, 0o100644, 0o120777, 0o010644, 0o040755]),
    made_by=st.sampled_from([0, 3 << 8]),
    local=LIES,
    central=st.one_of(LIES, LIES, st.builds(lambda o: {"offset": o}, SIZES), FAR),
)


@PROPERTY
@given(
    st.lists(MEMBERS, max_size=4),
    st.binary(max_size=60),
    st.fixed_dictionaries({}, optional={"count": SIZES, "length": SIZES, "start": SIZES}),
    st.booleans(),
)
def test_zips_that_lie_anywhere_give_only_what_is_true(members, comment, end, wide):
    content = wide_zip(*members, **end) if wide else raw_zip(*members, comment=comment, end=end)
    contents = extracted(content)
    # Of a member that is stored, any part may have been described: it has the right checksum.
    true = [member.data for member in members] + [member.packed for member in members]
    for found in (contents or {}).values():
        assert found in true or any(found in one for one in true)


@PROPERTY
@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("cp437")))
def test_what_becomes_of_a_name_can_be_stored_and_stays(name):
    try:
        path = safe_path(name)
    except OffloadError:
        return
    assert len(path.encode()) <= MAX_PATH_BYTES
    if path:
        assert_storable(path)
    assert safe_path(path) == path


PARTS = st.sampled_from(["a", "A", "b", "a.txt", "a (2)", "a (2).txt", "é", "e\u0301"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@PROPERTY
@given(st.lists(PATHS, max_size=30), st.booleans())
def test_names_given_out_can_all_be_written_into_one_folder(paths, fold):
    names = Names(fold=fold)
    taken = [names.take(path) for path in paths]
    seen = [path.casefold() if fold else path for path in taken]
    assert len(set(seen)) == len(seen)
    folders = {str(parent) for path in seen for parent in PurePosixPath(path).parents}
    assert not folders & set(seen)


@PROPERTY
@given(
    st.lists(st.tuples(st.text(max_size=60), st.binary(max_size=200)), min_size=1, max_size=8),
    st.sampled_from(["zip", "tar", "tar.zst"]),
)
def test_what_is_archived_under_any_names_comes_out_again(files, chosen):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "folder"
        folder.mkdir()
        sources = []
        for number, (called, content) in enumerate(files):
            path = Path(name) / str(number)
            path.write_bytes(content)
            sources.append(Source(path, called, "text/plain", len(content)))
        result = archive(Work(tuple(sources), folder, LIMITS), ArchiveParams(format=chosen))
        packed = result.outputs[0].path.read_bytes()
    contents = extracted(packed)
    assert contents is not None
    assert list(contents.values()) == [content for _, content in files]


def naively(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(naively(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and part_naively(parts[0], pattern[0]) and naively(parts[1:], pattern[1:])


def part_naively(part: str, pattern: str) -> bool:
    if not pattern:
        return not part
    if pattern[0] == "*":
        return any(part_naively(part[skip:], pattern[1:]) for skip in range(len(part) + 1))
    return bool(part) and pattern[0] in ("?", part[0]) and part_naively(part[1:], pattern[1:])


@PROPERTY
@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4),
    st.lists(st.just("**") | st.text("ab*?", min_size=1, max_size=3), min_size=2, max_size=4),
)
def test_globs_mean_what_they_say(parts, pattern):
    pattern = [part if part == "**" else part.replace("**", "*") for part in pattern]
    meant = [*pattern, "*"] if pattern[-1] == "**" else pattern
    globs.checked(["/".join(pattern)])
    assert globs.matches("/".join(parts), ["/".join(pattern)]) == naively(parts, meant)
