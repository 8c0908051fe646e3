"""Inspecting and optimising what is spoiled: told or refused, never anything else."""

import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from pathlib import Path

import lz4.frame
import pytest
from PIL import Image, ImageCms

from app.errors import OffloadError
from app.ops.base import Limits, Source, Work
from app.ops.inspect import InspectParams, inspect
from app.ops.optimize import OptimizeParams, optimize
from tests.fuzz.budget import mutated, rounds

pytestmark = pytest.mark.fuzz


def encoded(kind: str, size: int = 40, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    chance = random.Random(5)
    picture = Image.frombytes("RGB", (size, size), chance.randbytes(3 * size * size))
    file = io.BytesIO()
    if kind not in ("GIF", "TIFF"):
        options["exif"] = exif
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(file, kind, **options)
    return file.getvalue()


def archived() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"words " * 50)
        archive.writestr("c.txt", b"")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 900
        archive.addfile(member, io.BytesIO(b"x" * 900))
    words = b"some words\r\n" * 40
    return [
        zipped.getvalue(),
        tarred.getvalue(),
        gzip.compress(tarred.getvalue()),
        gzip.compress(words),
        lzma.compress(words),
        lz4.frame.compress(words),
        words,
        "\ufeffgr\u00fc\u00dfe\n".encode("utf-16"),
    ]


def work(folder: Path, content: bytes) -> Work:
    path = folder / "source"
    path.write_bytes(content)
    inside = folder / "folder"
    inside.mkdir(exist_ok=True)
    for left in inside.iterdir():
        left.unlink()
    source = Source(path, "file", "application/octet-stream", len(content))
    return Work((source,), inside, Limits(time_s=20, max_pixels=250_000))


PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF")


def test_whatever_is_inspected_is_told(tmp_path):
    corpus = [encoded(kind) for kind in PICTURES] + archived()
    for chance in rounds(seed=11):
        content = mutated(chance.choice(corpus), chance)
        result = inspect(work(tmp_path, content), InspectParams())
        assert result.facts["size_bytes"] == len(content)
        json.dumps(result.facts, allow_nan=False)


@pytest.mark.parametrize("mode", ["lossless", "lossy"])
def test_what_is_optimised_is_smaller_or_refused(tmp_path, mode):
    corpus = [encoded(kind) for kind in PICTURES]
    params = OptimizeParams(mode=mode, formats=("keep", "png", "jpeg"))
    for chance in rounds(seed=12):
        content = mutated(chance.choice(corpus), chance)
        try:
            result = optimize(work(tmp_path, content), params)
        except OffloadError:
            continue
        (output,) = result.outputs
        assert output.path.stat().st_size <= len(content)
        if not result.facts["kept_original"]:
            assert output.path.stat().st_size < len(content)
            with Image.open(output.path) as picture:
                picture.load()
