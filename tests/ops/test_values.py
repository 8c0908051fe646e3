"""Small bodies as values: the same as from a file, and no folder made for them."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import app.ops.chain
from app.errors import OffloadError
from app.model.blobs import SMALL_BYTES
from app.ops.base import Limits, Source, Work, whole
from app.ops.chain import run_chain
from app.ops.codecs.kinds import CODECS
from app.ops.registry import load_operations
from app.ops.tasks import ChainStep, ChainTask, Finished
from tests.ops.codec_tools import MADE_ELSEWHERE, text
from tests.ops.image_cases import animation, corners, encoded, noise

PICTURES = {
    "png": encoded(noise(60, 40, 1), "PNG"),
    "jpeg": encoded(noise(600, 400, 1), "JPEG", quality=30),
    "webp": encoded(noise(60, 40, 1), "WEBP"),
    "gif": animation("GIF"),
    "tiff": encoded(corners(60, 40), "TIFF"),
    "bmp": encoded(corners(60, 40), "BMP"),
    "ico": encoded(corners(32, 32), "ICO"),
    "avif": encoded(corners(64, 40), "AVIF"),
}
CASES = [
    *((text(5000), "compress", {"format": codec}) for codec in CODECS),
    (text(5000), "compress", {"format": "auto"}),
    (os.urandom(500), "compress", {"format": "auto"}),
    (b"", "compress", {}),
    *((MADE_ELSEWHERE[codec](b"hello"), "decompress", {"format": codec}) for codec in CODECS),
    (text(5000), "inspect", {}),
    *((content, "inspect", {}) for content in PICTURES.values()),
    *((content, "image", {"width": 20}) for content in PICTURES.values()),
    (PICTURES["jpeg"], "image", {"width": 50, "metadata": "copyright"}),
    (PICTURES["png"], "image", {"variants": [{"name": "a", "width": 9}, {"name": "b"}]}),
    # These know only files.
    (PICTURES["png"], "optimize", {}),
    (text(5000), "archive", {"format": "tar.gz"}),
]


@pytest.fixture
def make_task(tmp_path):
    made = 0

    def make(sources, *steps, small_bytes=SMALL_BYTES, **more):
        nonlocal made
        made += 1
        folder = str(tmp_path / f"task{made}")
        return ChainTask(tuple(sources), steps, folder, Limits(), small_bytes=small_bytes, **more)

    return make


def value(content: bytes, name: str = "a.log") -> Source:
    return Source.of(content, name, "text/plain")


def as_file(source: Source, folder) -> Source:
    path = folder / f"source-{source.name}"
    path.write_bytes(source.data)
    return replace(source, path=path, data=None)


@pytest.mark.parametrize(("content", "op", "params"), CASES)
def test_a_value_gives_what_a_file_gives(make_task, tmp_path, content, op, params):
    source, step = value(content), ChainStep(op, params)
    by_value, by_file = make_task([source], step), make_task([as_file(source, tmp_path)], step)
    found = run_chain(by_value)
    assert isinstance(found, Finished)
    assert found == run_chain(by_file)
    assert all(output.data is not None for output in found.outputs)
    if load_operations()[op].takes_bytes:
        assert not Path(by_value.folder).exists()
        assert not Path(by_file.folder).exists()


@pytest.mark.parametrize(("content", "op", "params"), CASES)
def test_whoever_wants_files_gets_files(make_task, content, op, params):
    wanted = run_chain(make_task([value(content)], ChainStep(op, params)))
    found = run_chain(make_task([value(content)], ChainStep(op, params), small_bytes=None))
    assert [output.data for output in found.outputs] == [None] * len(wanted.outputs)
    assert [whole(output.path) for output in found.outputs] == [o.data for o in wanted.outputs]
    assert [o.sha256 for o in found.outputs] == [o.sha256 for o in wanted.outputs]


@pytest.mark.parametrize("op", [name for name, one in load_operations().items() if one.takes_bytes])
def test_damage_is_called_the_same(tmp_path, op):
    operation = load_operations()[op]
    params = operation.params.model_validate({})
    for content in (b"", b"\x1f\x8b\x08cut", PICTURES["png"][:50], PICTURES["gif"][:30]):
        said = []
        for source in (value(content), as_file(value(content), tmp_path)):
            work = Work((source,), tmp_path / "work", Limits())
            try:
                made = operation.run(work, params)
                said.append([whole(output.content) for output in made.outputs])
            except OffloadError as error:
                said.append((error.code, error.detail))
        assert said[0] == said[1]


@pytest.mark.parametrize("more_bytes", [0, 1])
def test_a_result_of_the_limit_is_a_value_and_one_byte_more_a_file(make_task, more_bytes):
    content = os.urandom(SMALL_BYTES + more_bytes)
    step = ChainStep("compress", {"format": "auto"})
    (output,) = run_chain(make_task([value(content)], step)).outputs
    assert output.size_bytes == SMALL_BYTES + more_bytes
    assert (output.data is None) == bool(more_bytes)
    assert (output.data or output.path.read_bytes()) == content


def test_small_members_of_an_archive_are_values_until_they_are_too_many(make_task, monkeypatch):
    monkeypatch.setattr(app.ops.chain, "MAX_VALUE_BYTES", 25)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for number in range(4):
            packed.writestr(f"{number}.txt", b"%d" % number * 10)
    outputs = run_chain(make_task([value(file.getvalue())], ChainStep("extract"))).outputs
    assert [output.data is not None for output in outputs] == [True, True, False, False]
    contents = [output.data or output.path.read_bytes() for output in outputs]
    assert contents == [b"%d" % number * 10 for number in range(4)]


def test_values_are_joined_as_files_are(make_task):
    task = make_task([value(b"one", "1.txt"), value(b"two", "2.txt")], ChainStep("archive"))
    (output,) = run_chain(task).outputs
    with zipfile.ZipFile(io.BytesIO(output.data)) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "1.txt": b"one",
            "2.txt": b"two",
        }


def test_an_overlay_may_be_a_value(make_task):
    step = ChainStep("image", {"overlay": {"file_id": "file_mark"}, "format": "png"})
    mark = Source.of(encoded(Image.new("RGB", (60, 40), "red"), "PNG"), "mark", "image/png")
    task = make_task([value(PICTURES["png"])], step, asides={"file_mark": mark})
    (output,) = run_chain(task).outputs
    assert Image.open(io.BytesIO(output.data)).convert("RGB").getpixel((55, 35)) == (255, 0, 0)


def test_what_is_between_two_steps_may_be_larger_than_a_value(make_task):
    content = bytes(3 << 20)
    steps = [ChainStep("decompress"), ChainStep("compress", {"format": "lz4"})]
    task = make_task([value(MADE_ELSEWHERE["gzip"](content))], *steps)
    (output,) = run_chain(task).outputs
    assert output.data is not None
    assert run_chain(make_task([value(output.data)], ChainStep("decompress"))).outputs[
        0
    ].size_bytes == len(content)
