"""The command `offload`, with a service and without one: the same words, the same files."""

import gzip
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

from PIL import Image

from tests.client.shell import made


def test_a_photo_gets_smaller_beside_itself(offload_, folder):
    ended = offload_("image", "photo.jpg", "--width", "80")
    assert (ended.exit_code, ended.output) == (0, "")
    assert made(folder) == ["photo-image.jpg"]
    with Image.open("photo-image.jpg") as small:
        assert small.size == (80, 60)


def test_many_files_some_of_them_bad(offload_, folder, text):
    ended = offload_("image", "photo.jpg", "access.log", "none.jpg", "--width", 8, "-o", "out/")
    assert ended.exit_code == 3
    assert made(folder) == ["out/photo.jpg"]
    complaints = ended.stderr.splitlines()
    assert len(complaints) == 2
    assert "none.jpg" in complaints[0]
    assert "[image.unsupported]" in complaints[1]
    assert offload_("image", "access.log", "none.jpg").exit_code == 1


def test_folders_and_globs(offload_, folder, text):
    (folder / "logs" / "old").mkdir(parents=True)
    for name in ("logs/a.log", "logs/old/b.log"):
        (folder / name).write_bytes(text)
    refused = offload_("compress", "logs")
    assert (refused.exit_code, made(folder)) == (1, ["logs/a.log", "logs/old/b.log"])
    assert "-r takes the files in it" in refused.stderr
    ended = offload_("compress", "-r", "logs", "*.log", "-o", "packed/", "--format", "zstd")
    assert ended.exit_code == 0, ended.output
    assert made(folder)[2:] == [
        "packed/access.log.zst",
        "packed/logs/a.log.zst",
        "packed/logs/old/b.log.zst",
    ]


def test_json_is_a_line_a_file(offload_, folder):
    ended = offload_("compress", "access.log", "none", "--json")
    bad, good = (json.loads(line) for line in ended.stdout.splitlines())
    assert (good["input"], good["status"], good["error"]) == ("access.log", "succeeded", None)
    [result] = good["results"]
    assert (result["path"], result["size_bytes"]) == (
        "access.log.gz",
        Path("access.log.gz").stat().st_size,
    )
    assert good["facts"]["compress"]["format"] == "gzip"
    assert bool(good["job"]) == offload_.remote
    assert (bad["status"], bad["error"]["code"]) == ("failed", "client.input")
    assert (ended.stderr, ended.exit_code) == ("", 3)


def test_standard_input_and_output(offload_, folder, text):
    ended = offload_("compress", "-", given=text)
    assert (ended.exit_code, gzip.decompress(ended.stdout_bytes)) == (0, text)
    back = offload_("decompress", "-", "-o", "back.log", given=ended.stdout_bytes)
    assert (back.exit_code, Path("back.log").read_bytes()) == (0, text)
    ended = offload_("image", "photo.jpg", "--width", 8, "-o", "-")
    with Image.open(io.BytesIO(ended.stdout_bytes)) as small:
        assert small.width == 8
    assert made(folder) == ["back.log"]


def test_many_into_one_and_out_again(offload_, folder, text, photo):
    (folder / "in" / "deep").mkdir(parents=True)
    shutil.move("photo.jpg", "in/deep/photo.jpg")
    shutil.move("access.log", "in/access.log")
    ended = offload_("archive", "-r", "in", "-o", "all.zip", "--no-deterministic")
    assert ended.exit_code == 0, ended.output
    with zipfile.ZipFile("all.zip") as archive:
        assert sorted(archive.namelist()) == ["in/access.log", "in/deep/photo.jpg"]
    assert offload_("extract", "all.zip").exit_code == 0
    assert Path("all/in/access.log").read_bytes() == text
    assert Path("all/in/deep/photo.jpg").read_bytes() == photo
    ended = offload_("extract", "all.zip", "--list-only")
    assert ended.exit_code == 0
    assert len(json.loads(ended.stdout)["extract"]["members"]) == 2


def test_what_makes_no_file_prints_its_facts(offload_, folder):
    ended = offload_("inspect", "photo.jpg", "--digests", "md5,crc32")
    facts = json.loads(ended.stdout)["inspect"]
    assert (facts["media_type"], sorted(facts["digests"])) == ("image/jpeg", ["crc32", "md5"])


def test_nothing_is_replaced_without_force(offload_, folder):
    Path("access.log.gz").write_bytes(b"mine")
    ended = offload_("compress", "access.log")
    assert ended.exit_code == 1
    assert "access.log.gz is there already; --force replaces it." in ended.stderr
    assert Path("access.log.gz").read_bytes() == b"mine"
    assert offload_("compress", "access.log", "--force").exit_code == 0
    assert gzip.decompress(Path("access.log.gz").read_bytes()) == Path("access.log").read_bytes()
    Path("one").write_bytes(b"mine")
    assert offload_("compress", "access.log", "-o", "one").exit_code == 1
    assert made(folder) == ["access.log.gz", "one"]


def test_two_results_of_one_name_do_not_replace_each_other(offload_, folder, text):
    Path("a").mkdir()
    Path("a/access.log").write_bytes(text)
    ended = offload_("compress", "access.log", "a/access.log", "-o", "out/", "-P", 1, "--force")
    assert ended.exit_code == 3
    assert "another result of this run has that name" in ended.stderr


def test_what_cannot_be_meant_is_usage(offload_, folder, monkeypatch):
    for words in (
        ["compress", "access.log", "--level", "99"],
        ["compress", "access.log", "--nothing"],
        ["compress", "access.log", "--format", "rar"],
        ["image", "photo.jpg", "--width", "wide"],
        ["image", "photo.jpg", "--width", "99999999"],
        ["image", "photo.jpg", "access.log", "-o", "one.jpg"],
        ["image", "photo.jpg", "access.log", "-o", "-"],
        ["nothing"],
        ["jobs", "list", "--key-file", "none"],
    ):
        ended = offload_(*words)
        assert (ended.exit_code, made(folder)) in ((2, []), (1, [])), words
        # The level of a format is the operation's own to judge: only right here it is so early.
        assert ended.exit_code == 2 or (offload_.remote and words[2:3] == ["--level"]), words
        assert "Traceback" not in ended.output


def test_folders_without_permission(offload_, folder, monkeypatch):
    """Root may do all that permissions forbid: not make a folder in /sys, though."""
    ended = offload_("compress", "access.log", "-o", "/sys/offload/")
    assert (ended.exit_code, made(folder)) == (1, [])
    assert "not permitted" in ended.stderr or "denied" in ended.stderr
    Path("hidden").mkdir()
    scandir = os.scandir

    def refusing(path="."):
        if str(path).endswith("hidden"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ended = offload_("compress", "-r", "hidden", "access.log")
    assert (ended.exit_code, ended.stderr) == (
        3,
        "offload: hidden: Permission denied. [client.input]\n",
    )
    assert made(folder) == ["access.log.gz"]


def test_an_output_folder_that_is_a_file(offload_, folder):
    ended = offload_("compress", "access.log", "-o", "photo.jpg/")
    assert ended.exit_code == 1
    assert "photo.jpg" in ended.stderr
    assert made(folder) == []


def test_urls_are_fetched(offload_, folder, origin):
    env = {"OFFLOAD_FETCH_ALLOW_NETWORKS": "127.0.0.1/32"}
    Path("urls.txt").write_text(f"{origin}/1\n\n{origin}/text\nnonsense\n{origin}/none\n")
    ended = offload_("fetch", "urls.txt", f"{origin}/2", "-o", "pages/", more_env=env)
    assert ended.exit_code == 3
    assert made(folder) == ["pages/1", "pages/2", "pages/text", "urls.txt"]
    assert "nonsense is no URL" in ended.stderr
    assert "[fetch.status]" in ended.stderr
    ended = offload_("image", f"{origin}/photo.jpg", "--width", 8, "-o", "a.jpg", more_env=env)
    assert ended.exit_code == 0
    with Image.open("a.jpg") as small:
        assert small.width == 8


def test_names_that_climb_stay_inside(offload_, folder):
    with zipfile.ZipFile("bad.zip", "w") as archive:
        archive.writestr("good.txt", b"good")
        archive.writestr("../../bad.txt", b"bad")
        archive.writestr("sub/..hidden", b"odd")
    ended = offload_("extract", "bad.zip")
    assert ended.exit_code == 0
    assert "[archive.unsafe_path]" in ended.stderr
    assert made(folder) == ["bad.zip", "bad/good.txt", "bad/sub/..hidden"]
    assert not (folder.parent / "bad.txt").exists()
