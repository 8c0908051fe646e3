import bz2
import gzip
import io
import lzma
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from functools import cache, partial

import pytest
from pydantic import ValidationError

from app.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveOverlap,
    ArchiveTruncated,
    ArchiveUnsupported,
    CodecError,
    MemberEncrypted,
    MemberIsLink,
    MemberPathUnsafe,
    OutputTooLarge,
    RatioExceeded,
    TooManyMembers,
)
from app.ops.archives.names import MAX_COMPONENT_BYTES
from app.ops.base import Limits
from app.ops.extract import ExtractParams, extract
from tests.ops.raw_archives import (
    END,
    Raw,
    deflated,
    overlapping_zip,
    padded,
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

DICE = random.Random(7)
FILES = {
    "read me.txt": b"hello\n" * 50,
    "empty": b"",
    "photos/2024/a.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + DICE.randbytes(5_000),
    "photos/notes.txt": "".join(f"row {n}\n" for n in range(2_000)).encode(),
    "Größe/日本.bin": DICE.randbytes(1_200_000),
}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return sink.getvalue()


def lz4ed(data: bytes) -> bytes:
    import lz4.frame

    return lz4.frame.compress(data)


COMPRESSORS = {
    "tar.gz": gzip.compress,
    "tar.zst": zstd.compress,
    "tar.xz": lzma.compress,
    "tar.bz2": bz2.compress,
    "tar.lz4": lz4ed,
}
MAKERS = {
    "zip": lambda: zipped(FILES),
    "zip stored": lambda: zipped(FILES, zipfile.ZIP_STORED),
    "zip bzip2": lambda: zipped(FILES, zipfile.ZIP_BZIP2),
    "zip lzma": lambda: zipped(FILES, zipfile.ZIP_LZMA),
    "tar": lambda: plain_tar(FILES),
    "tar gnu": lambda: plain_tar(FILES, tarfile.GNU_FORMAT),
} | {name: partial(lambda pack: pack(plain_tar(FILES)), pack) for name, pack in COMPRESSORS.items()}


@cache
def archive(kind: str) -> bytes:
    """Make one of them when a test wants it: collecting the tests makes none."""
    return MAKERS[kind]()


@pytest.fixture
def run(make_work):
    """Extract, and give the result with the contents by name and the refusals' codes by name."""

    def run(content: bytes, limits: Limits | None = None, **params):
        work = make_work(content, "given.bin", limits)
        result = extract(work, ExtractParams(**params))
        contents = {output.name: output.path.read_bytes() for output in result.outputs}
        assert len(contents) == len(result.outputs)
        assert all(output.path.parent == work.folder for output in result.outputs)
        refused = {refusal.name: refusal.code for refusal in result.refused}
        return result, contents, refused

    return run


# -- the good ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_every_file_comes_out_with_its_folders(run, kind):
    result, contents, refused = run(archive(kind))
    assert contents == FILES
    assert refused == {}
    assert result.facts == {
        "format": kind.split()[0],
        "entries": 5,
        "files": 5,
        "skipped": 0,
        "refused": 0,
        "renamed": 0,
        "output_bytes": sum(map(len, FILES.values())),
    }


def test_digest_and_media_type_are_those_of_the_content(run):
    import hashlib

    result, contents, _ = run(archive("tar.gz"))
    for output in result.outputs:
        assert output.sha256 == hashlib.sha256(contents[output.name]).hexdigest()
    types = {output.name: output.media_type for output in result.outputs}
    assert types["photos/2024/a.jpg"] == "image/jpeg"
    assert types["photos/notes.txt"] == "text/plain"


def test_a_member_in_zstd_is_read(run):
    member = Raw(b"a", b"z" * 10_000, method=93, body=zstd.compress(b"z" * 10_000))
    assert run(raw_zip(member))[1] == {"a": b"z" * 10_000}


def test_a_zip_that_was_written_as_a_stream_is_read(run):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert run(pipe.data)[1] == FILES


def test_zip64_is_read(run):
    assert run(wide_zip(Raw(b"a", b"x"), Raw(b"b", b"y")))[1] == {"a": b"x", "b": b"y"}


@pytest.mark.skipif(not shutil.which("zip"), reason="no zip")
def test_what_info_zip_writes_is_read(run, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.txt").write_text("content")
    (tmp_path / "d/link").symlink_to("a.txt")
    subprocess.run(["zip", "-qry", "a.zip", "d"], cwd=tmp_path, check=True)
    _, contents, refused = run((tmp_path / "a.zip").read_bytes())
    assert contents == {"d/a.txt": b"content"}
    assert refused == {"d/link": "archive.link"}


@pytest.mark.parametrize(
    "how",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
)
def test_sparse_members_get_their_holes_back(run, tmp_path, how):
    path = tmp_path / "holes"
    with path.open("wb") as file:
        for at in range(0, 3_000_000, 100_000):
            file.seek(at)
            file.write(b"island %d" % at)
        file.truncate(3_333_333)
    subprocess.run(["tar", "-S", *how, "-cf", "a.tar", "holes"], cwd=tmp_path, check=True)
    packed = (tmp_path / "a.tar").read_bytes()
    assert len(packed) < 1_000_000
    assert run(packed)[1] == {"holes": path.read_bytes()}


def test_an_archive_inside_is_a_file(run):
    result, contents, _ = run(zipped({"inner.zip": archive("zip")}))
    assert contents == {"inner.zip": archive("zip")}
    assert result.outputs[0].media_type == "application/zip"


@pytest.mark.parametrize("content", [raw_zip(), END, bytes(10_240), gzip.compress(END, mtime=0)])
def test_an_empty_archive_gives_nothing_and_is_no_error(run, content):
    result, contents, refused = run(content)
    assert (contents, refused, result.facts["entries"]) == ({}, {}, 0)


def test_progress_is_told_to_the_end(make_work):
    told = []
    for kind in ("zip", "tar.gz", "tar"):
        work = make_work(archive(kind))
        object.__setattr__(work, "tell", lambda done, total: told.append((done, total)))
        extract(work, ExtractParams())
        assert told == sorted(told)
        assert told[-1][0] >= told[-1][1] * 0.9
        told.clear()


# -- which members -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"include": ["*.txt"]}, {"read me.txt", "photos/notes.txt"}),
        ({"include": "*.jpg, *.bin"}, {"photos/2024/a.jpg", "Größe/日本.bin"}),
        ({"include": '["*.jpg", "empty"]'}, {"photos/2024/a.jpg", "empty"}),
        ({"include": ["photos/"]}, {"photos/2024/a.jpg", "photos/notes.txt"}),
        ({"include": ["photos/*"]}, {"photos/notes.txt"}),
        ({"include": ["photos/**"]}, {"photos/2024/a.jpg", "photos/notes.txt"}),
        ({"include": ["**/*.txt"]}, {"read me.txt", "photos/notes.txt"}),
        ({"include": ["photos/**/a.*"]}, {"photos/2024/a.jpg"}),
        ({"include": ["[a-f]*"]}, {"empty", "photos/2024/a.jpg"}),
        ({"include": ["e????"], "exclude": ["nothing"]}, {"empty"}),
        ({"include": ["photos/"], "exclude": ["*.jpg"]}, {"photos/notes.txt"}),
        ({"include": ["*.TXT"]}, set()),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar.zst"])
def test_globs_choose(run, kind, params, names):
    result, contents, _ = run(archive(kind), **params)
    assert contents == {name: FILES[name] for name in names}
    assert result.facts["skipped"] == 5 - len(names)


@pytest.mark.parametrize(
    "pattern", ["/etc/*", "../*", "a//b", "a/**b", ".", "x" * 501, [f"{n}" for n in range(101)]]
)
@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_glob_that_can_match_nothing_is_refused_at_once(field, pattern):
    with pytest.raises(ValidationError):
        ExtractParams(**{field: pattern if isinstance(pattern, list) else [pattern]})


def test_a_glob_made_to_take_for_ever_does_not(run):
    name = "a" * 250
    _, contents, _ = run(zipped({name: b"x"}), include=["*a" * 100 + "b", "**/" * 50 + "*"])
    assert contents == {name: b"x"}


def test_list_only_tells_and_writes_nothing(run):
    members = [
        Raw(b"a.txt", b"text" * 100),
        Raw(b"folder/"),
        Raw(b"../up", b"x"),
        Raw(b"secret", b"x", flags=1),
        Raw(b"link", b"a.txt", mode=stat.S_IFLNK | 0o777),
    ]
    result, contents, _ = run(raw_zip(*members), list_only="true", exclude="folder/")
    assert contents == {}
    told = {one["name"]: one for one in result.facts["members"]}
    assert told["a.txt"] == {
        "name": "a.txt",
        "kind": "file",
        "size_bytes": 400,
        "compressed_bytes": len(members[0].packed),
    }
    assert told["folder"]["kind"] == "folder"
    assert told["../up"]["refused"] == "archive.unsafe_path"
    assert told["secret"]["refused"] == "archive.encrypted"
    assert (told["link"]["kind"], told["link"]["refused"]) == ("symlink", "archive.link")


def test_list_only_of_a_compressed_tar_still_notices_damage(run):
    packed = bytearray(archive("tar.gz"))
    packed[-6] ^= 1
    with pytest.raises(CodecError):
        run(bytes(packed), list_only=True)


# -- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_budgets_are_exact(run, kind):
    total = sum(map(len, FILES.values()))
    assert run(archive(kind), max_output_bytes=total, max_entries=5)[1] == FILES
    with pytest.raises(OutputTooLarge):
        run(archive(kind), max_output_bytes=total - 1)
    with pytest.raises(TooManyMembers):
        run(archive(kind), max_entries=4)


def test_the_operators_limits_stand_above_the_clients(run):
    with pytest.raises(TooManyMembers):
        run(archive("tar"), Limits(max_files=4), max_entries=100)
    with pytest.raises(OutputTooLarge):
        run(archive("tar"), Limits(max_output_bytes=1000), max_output_bytes=10**9)


ZEROS = bytes(20 << 20)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: zipped({"zeros": ZEROS}), id="zip"),
        pytest.param(lambda: gzip.compress(plain_tar({"zeros": ZEROS}), 1), id="tar.gz"),
        pytest.param(lambda: bz2.compress(plain_tar({"zeros": ZEROS})), id="tar.bz2"),
        pytest.param(lambda: zipped({f"{n}": ZEROS[: 2 << 20] for n in range(10)}), id="many"),
    ],
)
def test_a_flat_bomb_stops_at_the_ratio(run, content):
    with pytest.raises(RatioExceeded):
        run(content(), max_ratio=100)


def test_a_bomb_that_nobody_asked_for_stops_too(run):
    packed = bz2.compress(plain_tar({"zeros": ZEROS, "wanted": b"x"}))
    with pytest.raises(RatioExceeded):
        run(packed, include=["wanted"], max_ratio=100)
    with pytest.raises(RatioExceeded):
        run(packed, list_only=True, max_ratio=100)


def test_a_bomb_of_holes_stops_at_the_output_budget(run):
    size = b"%d" % (1 << 50)
    sparse = (
        pax_header(
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", b"hole"),
            (b"GNU.sparse.realsize", size),
        )
        + tar_file(b"x", padded(b"0\n"))
        + END
    )
    with pytest.raises(OutputTooLarge):
        run(sparse, max_output_bytes=50_000_000, max_ratio=1e9)
    with pytest.raises(RatioExceeded):
        run(sparse)


@pytest.mark.parametrize("files", [2, 300])
def test_a_bomb_of_overlapping_members_is_refused(run, files):
    bomb = overlapping_zip(files, 100_000)
    if sys.version_info < (3, 11, 8):
        assert len(zipfile.ZipFile(io.BytesIO(bomb)).read("00000")) > 100_000
    with pytest.raises(ArchiveOverlap):
        run(bomb)


def test_members_with_one_place_are_refused(run):
    twice = raw_zip(Raw(b"a", b"x" * 100), Raw(b"a", b"x" * 100, central={"offset": 0}))
    with pytest.raises(ArchiveOverlap):
        run(twice)


def test_a_member_whose_own_header_reaches_into_the_next_is_refused(run):
    inner = Raw(b"b", b"y" * 50, method=0)
    # The first one's extra field swallows the second one's header.
    outer = Raw(b"a", inner.data, method=0, body=b"")
    outer.local = {"extra": inner.header(), "compressed": 50, "size": 50}
    outer.central = {"compressed": 30, "size": 30, "crc": 0}
    _, contents, refused = run(raw_zip(outer, Raw(b"b", b"y" * 50, method=0)))
    assert contents == {"b": b"y" * 50}
    assert refused == {"a": "archive.damaged"}


def test_ten_thousand_members_pass_and_one_more_does_not(run):
    many = [f"{n % 100}/{n}".encode() for n in range(10_000)]
    tar = b"".join(map(tar_header, many))
    assert len(run(tar + END, list_only=True)[0].facts["members"]) == 10_000
    assert len(run(tar + END, include="*7")[1]) == 1_000
    with pytest.raises(TooManyMembers):
        run(tar + tar_header(b"more") + END, list_only=True)
    with pytest.raises(TooManyMembers):
        run(raw_zip(*(Raw(name, method=0) for name in many), Raw(b"more")))


# -- members that are refused alone --------------------------------------------------------------

GOOD = Raw(b"good", b"fine")


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (Raw(b"../../etc/passwd", b"x"), "archive.unsafe_path"),
        (Raw(b"a/../../b", b"x"), "archive.unsafe_path"),
        (Raw(b"..\\..\\b", b"x"), "archive.unsafe_path"),
        (Raw(b"/etc/passwd", b"x"), "archive.unsafe_path"),
        (Raw(b"\\\\server\\share", b"x"), "archive.unsafe_path"),
        (Raw(b"C:\\Windows\\x", b"x"), "archive.unsafe_path"),
        (Raw(b"c:/x", b"x"), "archive.unsafe_path"),
        (Raw(b"a.txt\0.exe", b"x"), "archive.unsafe_path"),
        (Raw(b"", b"x"), "archive.unsafe_path"),
        (Raw(b"x/" * 70 + b"y", b"x"), "archive.unsafe_path"),
        (Raw((b"x" * 200 + b"/") * 6 + b"y", b"x"), "archive.unsafe_path"),
        (Raw(b"link", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "archive.link"),
        (Raw(b"fifo", mode=stat.S_IFIFO), "archive.special_file"),
        (Raw(b"disk", mode=stat.S_IFBLK), "archive.special_file"),
        (Raw(b"tty", mode=stat.S_IFCHR), "archive.special_file"),
        (Raw(b"socket", mode=stat.S_IFSOCK), "archive.special_file"),
        (Raw(b"secret", b"x", flags=1), "archive.encrypted"),
        (Raw(b"aes", b"x", method=99), "archive.encrypted"),
        (Raw(b"patch", b"x", flags=1 << 5), "archive.unsupported"),
        (Raw(b"deflate64", b"x", method=9), "archive.unsupported"),
        (Raw(b"folder/", b"x"), "archive.damaged"),
        (Raw(b"bad crc", b"x", local={"crc": 1}, central={"crc": 1}), "archive.damaged"),
        (Raw(b"longer", b"xyz", local={"size": 2}, central={"size": 2}), "archive.damaged"),
        (Raw(b"shorter", b"xyz", local={"size": 4}, central={"size": 4}), "archive.damaged"),
        (Raw(b"no deflate", b"x", body=b"\xff" * 20), "archive.damaged"),
        (Raw(b"cut deflate", b"x" * 99, body=deflated(b"x" * 99)[:-2]), "archive.damaged"),
        (Raw(b"more behind", b"x", body=deflated(b"x") + b"more"), "archive.damaged"),
        (Raw(b"no bzip2", b"x", method=12, body=b"BZh9garbage"), "archive.damaged"),
        (Raw(b"no zstd", b"x", method=93, body=b"garbage"), "archive.damaged"),
        (Raw(b"no lzma", b"x", method=14, body=b"\0\0\5\0\xff\0\0\0\0\0"), "archive.damaged"),
        (
            Raw(
                b"large lzma",
                b"x",
                method=14,
                body=b"\0\0\5\0\x5d\xff\xff\xff\xff" + bytes(9),
                local={"size": 1 << 31},
                central={"size": 1 << 31},
            ),
            "archive.unsupported",
        ),
        (Raw(b"elsewhere", b"x", central={"offset": 41}), "archive.damaged"),
        (Raw(b"name", b"x", local={"name": b"another"}), "archive.damaged"),
        (Raw(b"method", b"x", method=0, local={"method": 8}), "archive.damaged"),
        (Raw(b"size", b"x", local={"size": 2}), "archive.damaged"),
        (Raw(b"crc", b"x", local={"crc": 2}), "archive.damaged"),
    ],
    ids=lambda value: value.name.decode()[:20] if isinstance(value, Raw) else None,
)
def test_a_zips_member_fails_alone(run, member, code):
    result, contents, refused = run(raw_zip(GOOD, member))
    assert contents == {"good": b"fine"}
    assert list(refused.values()) == [code]
    assert result.refused[0].detail
    with pytest.raises(ArchiveError) as caught:
        run(raw_zip(member))
    assert caught.value.code == code


def test_a_member_that_lies_small_does_not_get_large(run):
    """A header that says 10 bytes, over 50 MB."""
    liar = Raw(b"liar", bytes(10), body=deflated(bytes(50_000_000), 1))
    tracemalloc.start()
    _, contents, refused = run(raw_zip(liar, GOOD))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert contents == {"good": b"fine"}
    assert refused == {"liar": "archive.damaged"}
    assert peak_bytes < 20_000_000


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (tar_file(b"../up", b"x"), "archive.unsafe_path"),
        (tar_file(b"/etc/passwd", b"x"), "archive.unsafe_path"),
        (pax_header((b"path", b"/etc/passwd")) + tar_file(b"ok", b"x"), "archive.unsafe_path"),
        (pax_header((b"path", b"../up")) + tar_file(b"ok", b"x"), "archive.unsafe_path"),
        (tar_file(b"L", b"../up\0", kind=b"L") + tar_file(b"ok", b"x"), "archive.unsafe_path"),
        (tar_header(b"link", kind=b"2", link=b"/etc"), "archive.link"),
        (tar_header(b"hard", kind=b"1", link=b"/etc/shadow"), "archive.link"),
        (tar_header(b"tty", kind=b"3"), "archive.special_file"),
        (tar_header(b"disk", kind=b"4"), "archive.special_file"),
        (tar_header(b"fifo", kind=b"6"), "archive.special_file"),
        (tar_file(b"what", b"x", kind=b"Q"), "archive.special_file"),
        (tar_file(b"volume", b"x", kind=b"M"), "archive.unsupported"),
    ],
)
def test_a_tars_member_fails_alone(run, member, code):
    _, contents, refused = run(member + tar_file(b"good", b"fine") + END)
    assert contents == {"good": b"fine"}
    assert list(refused.values()) == [code]


def test_a_file_behind_a_link_of_its_folders_name_is_just_a_file(run, tmp_path):
    content = tar_header(b"x", kind=b"2", link=str(tmp_path).encode()) + tar_file(b"x/f", b"y")
    _, contents, refused = run(content + END)
    assert contents == {"x/f": b"y"}
    assert refused == {"x": "archive.link"}
    assert not (tmp_path / "f").exists()


def test_if_nothing_is_left_the_first_reason_is_raised(run):
    with pytest.raises(MemberIsLink, match="None of the 2 members"):
        run(tar_header(b"a", kind=b"2") + tar_header(b"b", kind=b"3") + END)
    with pytest.raises(MemberEncrypted, match="secret"):
        run(raw_zip(Raw(b"secret", b"x", flags=1)))


def test_what_is_not_asked_for_is_not_held_against_the_archive(run):
    _, contents, refused = run(raw_zip(Raw(b"a.key", b"x", flags=1), GOOD), exclude=["*.key"])
    assert (contents, refused) == ({"good": b"fine"}, {})


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        (b"./a/./b//c.txt", 0, "a/b/c.txt"),
        (b"a\\b.txt", 0, "a/b.txt"),
        ("é.txt".encode(), 1 << 11, "é.txt"),
        ("é.txt".encode(), 0, "é.txt"),
        (b"\x82.txt", 0, "é.txt"),
        ("e\u0301.txt".encode(), 0, "é.txt"),
        (b"\xff.txt", 1 << 11, "\ufffd.txt"),
        (b"a\tb\x1b[31m\n.txt", 0, "a_b_[31m_.txt"),
        ("a\u202egpj.exe".encode(), 1 << 11, "a_gpj.exe"),
        (b"trailing. . ", 0, "trailing_"),
        (b"...", 0, "_"),
        (b"con", 0, "_con"),
        (b"sub/AUX.txt", 0, "sub/_AUX.txt"),
        (b"COM1 .txt", 0, "_COM1 .txt"),
        (b"console.txt", 0, "console.txt"),
        (b'a<b>:"|?*.txt', 0, "a_b______.txt"),
        (b"C:name", 0, "C_name"),
        (b"x" * 300 + b".jpeg", 0, "x" * 250 + ".jpeg"),
        ("日".encode() * 100 + b".txt", 0, "日" * 83 + ".txt"),
    ],
)
def test_names_become_such_as_can_be_stored_anywhere(run, raw, flags, name):
    result, contents, _ = run(raw_zip(Raw(raw, b"x", flags=flags)))
    assert list(contents) == [name]
    assert all(len(part.encode()) <= MAX_COMPONENT_BYTES for part in name.split("/"))
    assert result.facts["renamed"] == (
        raw not in ("é.txt".encode(), b"\x82.txt", b"console.txt", b"\xff.txt")
    )


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (tar_file("ü.txt".encode(), b"x"), "ü.txt"),
        (tar_file(b"\xfc.txt", b"x"), "ü.txt"),
        (tar_file(b"name", b"x", at345=b"prefix/of/it"), "prefix/of/it/name"),
        (tar_file(b"L", b"lo/" * 60 + b"n\0", kind=b"L") + tar_file(b"s", b"x"), "lo/" * 60 + "n"),
        (pax_header((b"path", "ö".encode())) + tar_file(b"s", b"x"), "ö"),
        (pax_header((b"path", b"all"), kind=b"g") + tar_file(b"s", b"x"), "all"),
        (tar_header(b"label", kind=b"V") + tar_file(b"s", b"x"), "s"),
    ],
)  # fmt: skip
def test_a_tars_names_are_found_where_they_stand(run, header, name):
    assert run(header + END)[1] == {name: b"x"}


def test_the_unicode_path_field_counts_if_it_is_of_this_name(run):
    import struct
    import zlib

    def extra(crc: int) -> bytes:
        return struct.pack("<HHBI", 0x7075, 5 + 4, 1, crc) + "日x".encode()

    right = Raw(b"old", b"1", extra=extra(zlib.crc32(b"old")))
    stale = Raw(b"new", b"2", extra=extra(zlib.crc32(b"old")))
    assert run(raw_zip(right, stale))[1] == {"日x": b"1", "new": b"2"}


def test_two_of_a_name_are_both_kept(run):
    members = [Raw(b"a/x.tar.gz", b"%d" % n) for n in range(3)]
    more = [Raw(b"y", b"file"), Raw(b"y/z", b"in a folder of its name"), Raw(b"Y", b"other")]
    assert run(raw_zip(*members, *more))[1] == {
        "a/x.tar.gz": b"0",
        "a/x (2).tar.gz": b"1",
        "a/x (3).tar.gz": b"2",
        "y": b"file",
        "y (2)/z": b"in a folder of its name",
        "Y": b"other",
    }


# -- cut, damaged, and two things at once ----------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 22, 100, 3_000, 1_000_000])
def test_a_cut_zip_gives_nothing(run, cut):
    with pytest.raises(ArchiveTruncated):
        run(archive("zip")[:-cut])


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("cut", [1, 4, 1_000_000])
def test_a_cut_compressed_tar_gives_nothing(run, kind, cut):
    with pytest.raises(CodecError):
        run(archive(kind)[:-cut])


def test_a_cut_tar_gives_what_is_whole_and_tells_of_the_cut(run):
    whole = tar_file(b"a", b"1" * 1000) + tar_file(b"b", b"2" * 1000) + END
    for cut, names, code in [
        (len(whole) - 512, ["a", "b"], None),  # a single empty block ends it too
        (len(whole) - 1024, ["a", "b"], "archive.truncated"),
        (len(whole) - 1025, ["a", "b"], "archive.truncated"),
        (len(whole) - 1100, ["a"], "archive.truncated"),
        (1800, ["a"], "archive.truncated"),
        (1536, ["a"], "archive.truncated"),
    ]:
        _, contents, refused = run(whole[:cut])
        assert list(contents) == names
        assert list(refused.values()) == ([code] if code else [])
    for cut in (600, 1300):
        with pytest.raises(ArchiveTruncated):
            run(whole[:cut])


def test_a_tar_whose_cut_member_nobody_asked_for_still_tells(run):
    cut = tar_file(b"a", b"1") + tar_file(b"b", b"2" * 1000)[:700]
    _, contents, refused = run(cut, include=["a"])
    assert contents == {"a": b"1"}
    assert refused == {"given.bin": "archive.truncated"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_behind_a_damaged_header_nothing_is_read(run, pack):
    damaged = bytearray(tar_file(b"b", b"2"))
    damaged[0] ^= 1
    content = tar_file(b"a", b"1") + bytes(damaged) + tar_file(b"c", b"3") + END
    _, contents, refused = run(pack(content))
    assert contents == {"a": b"1"}
    assert refused == {"given.bin": "archive.damaged"}


def test_a_checksum_behind_a_damaged_header_is_still_looked_at(run):
    packed = bytearray(gzip.compress(tar_file(b"a", b"1") + b"garbage" * 100))
    packed[-6] ^= 1
    with pytest.raises(CodecError):
        run(bytes(packed))


@pytest.mark.parametrize(
    "header",
    [
        tar_header(b"x", b"9" * 11 + b"\0"),
        tar_header(b"x", b"\xff" * 12),
        tar_header(b"x", b"\x80" + b"\xff" * 11),
        pax_header((b"size", b"-1")) + tar_file(b"x", b"x"),
        pax_header((b"size", b"9" * 1000)) + tar_file(b"x", b"x"),
        tar_file(b"p", b"9999999 path=x\n", kind=b"x") + tar_file(b"x", b"x"),
        tar_file(b"p", b"nonsense", kind=b"x") + tar_file(b"x", b"x"),
        tar_header(b"p", 1 << 40, kind=b"x"),
        tar_header(b"L", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7, kind=b"L"),
        pax_header((b"a", b"b")) * 20 + tar_file(b"x", b"x"),
        pax_header((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"5"))
        + tar_file(b"x", padded(b"99999999\n")),
        pax_header((b"GNU.sparse.map", b"0,1,0,1"), (b"GNU.sparse.size", b"5"))
        + tar_file(b"x", b"xx"),
        tar_header(b"x", 0, kind=b"S", at482=b"\1") + b"1" * 512 * 3_000,
    ],
)
def test_numbers_and_headers_out_of_all_reason_end_the_reading(run, header):
    with pytest.raises((ArchiveDamaged, ArchiveTruncated)):
        run(header + END)
    _, contents, refused = run(tar_file(b"a", b"1") + header + END)
    assert contents == {"a": b"1"}
    assert len(refused) == 1


def test_a_member_larger_than_the_tar_is_cut_and_not_waited_for(run):
    huge = tar_header(b"huge", b"\x80" + bytes(3) + (1 << 60).to_bytes(8, "big")) + b"x" * 5_000
    _, contents, refused = run(tar_file(b"a", b"1") + huge)
    assert contents == {"a": b"1"}
    assert refused == {"huge": "archive.truncated"}


def test_what_follows_the_end_is_told(run):
    for content in (archive("tar") + b"more", archive("tar") + tar_file(b"b", b"2") + END):
        _, contents, refused = run(content)
        assert contents == FILES
        assert refused == {"given.bin": "archive.trailing_data"}
    _, contents, refused = run(archive("zip") + b"more")
    assert contents == FILES
    assert refused == {"given.bin": "archive.trailing_data"}
    assert run(archive("tar") + bytes(100_000))[2] == {}
    with pytest.raises(CodecError):
        run(archive("tar.gz") + b"more")


@pytest.mark.parametrize(
    "content",
    [
        wide_zip(GOOD, count=2),
        wide_zip(GOOD, length=1),
        wide_zip(GOOD, start=2**63),
        wide_zip(GOOD, length=2**63),
        wide_zip(GOOD, at=2**63),
        wide_zip(GOOD, size=2**63),
        raw_zip(GOOD, end={"count": 2}),
        raw_zip(GOOD, end={"count": 0}),
        raw_zip(GOOD, end={"length": 10}),
        raw_zip(GOOD, end={"start": 2**31}),
        raw_zip(Raw(b"wide", b"x", central={"size": 2**32 - 1})),
        raw_zip(Raw(b"wide", b"x", central={"offset": 2**32 - 1})),
        raw_zip(GOOD, comment=b"a comment with another end: " + raw_zip(Raw(b"evil", b"x"))),
        raw_zip(GOOD) + raw_zip(Raw(b"second", b"x")),
    ],
)
def test_a_zip_that_contradicts_itself_is_refused_whole(run, content):
    with pytest.raises((ArchiveDamaged, ArchiveTruncated)):
        run(content)


def test_a_zip64_size_that_lies_fails_alone(run):
    import struct

    wide = struct.pack("<HHQQ", 1, 16, 1 << 60, 9)
    liar = Raw(
        b"liar",
        b"x" * 9,
        method=0,
        local={"size": 2**32 - 1, "compressed": 2**32 - 1, "extra": wide},
        central={"size": 2**32 - 1, "compressed": 2**32 - 1, "extra": wide},
    )
    _, contents, refused = run(raw_zip(liar, GOOD))
    assert (contents, refused) == ({"good": b"fine"}, {"liar": "archive.damaged"})


def test_a_zip64_place_beyond_all_files_fails_alone(run):
    import struct

    wide = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    lost = Raw(b"lost", b"x", central={"offset": 2**32 - 1, "extra": wide})
    _, contents, refused = run(raw_zip(GOOD, lost))
    assert (contents, refused) == ({"good": b"fine"}, {"lost": "archive.damaged"})


def test_a_huge_directory_is_refused_before_it_is_read(run):
    with pytest.raises(TooManyMembers):
        run(wide_zip(GOOD, count=10_000_000))


def test_a_zips_comment_may_say_anything_else(run):
    assert run(raw_zip(GOOD, comment=b"PK\5\6 is not the end" * 9))[1] == {"good": b"fine"}
    assert run(raw_zip(GOOD, comment=b"x" * 65_535))[1] == {"good": b"fine"}


@pytest.mark.parametrize(
    "front",
    [
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(100),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        b"GIF89a" + bytes(50),
        b"just text\n",
    ],
)
def test_two_files_in_one_are_refused(run, front):
    shifted = Raw(b"good", b"fine")
    with pytest.raises(ArchiveUnsupported, match="has a zip behind it"):
        run(front + raw_zip(shifted))


@pytest.mark.parametrize("front", [b"MZ" + bytes(500), b"\x7fELF" + bytes(500), b"#!/bin/sh\n"])
def test_a_self_extracting_zip_is_read(run, front):
    assert run(front + raw_zip(GOOD, Raw(b"b", b"x")))[1] == {"good": b"fine", "b": b"x"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no archive"),
        (b"hello", "text/plain"),
        (DICE.randbytes(10_000), "no archive"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(100), "image/jpeg"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(100), "rar"),
        (gzip.compress(b"no tar", mtime=0), "decompress"),
        (bz2.compress(b"no tar" * 1000), "decompress"),
        (bytes(2_000) + b"a disk image", "empty tar"),
        (b"#!/bin/sh\necho hello\n", "no archive"),
    ],
)
def test_what_is_no_archive_is_told_apart(run, content, says):
    with pytest.raises(ArchiveUnsupported, match=says):
        run(content)


def test_what_it_is_called_does_not_matter(make_work):
    work = make_work(archive("tar.xz"), "holiday.jpg")
    assert extract(work, ExtractParams()).facts["format"] == "tar.xz"


# -- memory --------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
from app.errors import OffloadError
from app.ops.base import Limits, Source, Work
from app.ops.extract import ExtractParams, extract
from app.ops.media_type import sniff
from tests.memory import peak_kib
sniff(b"\\xff\\xd8\\xff" + bytes(100))
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
before = peak_kib()
source = Source(path, "a", "x", path.stat().st_size)
try:
    extract(Work((source,), folder, Limits()), ExtractParams(max_ratio=1e6))
except OffloadError as error:
    print(error.code, file=sys.stderr)
print(peak_kib() - before)
"""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(lambda: zipped({"zeros": bytes(60_000_000)}), "", id="zip"),
        pytest.param(
            lambda: bz2.compress(plain_tar({"zeros": bytes(45_000_000)})), "", id="tar.bz2"
        ),
        pytest.param(
            lambda: gzip.compress(tar_header(b"L", 80_000_000, kind=b"L") + bytes(80_000_000), 1),
            "archive.damaged",
            id="long name",
        ),
        pytest.param(
            lambda: gzip.compress(tar_header(b"x", 80_000_000, kind=b"x") + bytes(80_000_000), 1),
            "archive.damaged",
            id="pax header",
        ),
    ],
)
def test_memory_stays_flat(tmp_path, content, says):
    (tmp_path / "source").write_bytes(content())
    (tmp_path / "folder").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "source", tmp_path / "folder"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.strip() == says
    assert int(ran.stdout) < 40_000, "KiB"


def test_unsafe_paths_are_told_without_their_control_characters(run):
    result, _, _ = run(raw_zip(Raw(b"../\x1b[2Jx", b"x"), GOOD))
    assert result.refused[0].name == "../\ufffd[2Jx"
    with pytest.raises(MemberPathUnsafe):
        run(raw_zip(Raw(b"../\x1b[2Jx", b"x")))
