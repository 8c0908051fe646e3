"""Compress, image and fetch with a generated client: `python use.py URL KEY ORIGIN FOLDER`.

Prints what the calls gave, as JSON. The client is in the package `client` in the current folder.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, "")

from client import AuthenticatedClient
from client.api.files import get_content, store_file
from client.api.operations import compress, fetch, image, image_named
from client.models import (
    CompressFormat,
    DoorInput,
    FilesForm,
    ImageFit,
    ImageFormat,
    ImageNamedFormat,
    JobView,
    ProblemView,
    StoreFileFilesBody,
)
from client.types import File

url, key, origin, folder = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])


def file(name):
    return File(payload=(folder / name).open("rb"), file_name=name)


def job(answer):
    assert isinstance(answer, JobView), answer
    return answer


with AuthenticatedClient(base_url=url, token=key) as client:
    compressed = job(
        compress.sync(client=client, body=FilesForm(file=[file("access.log")]), level=9, wait=20)
    )
    size = {"width": 64, "height": 48, "wait": 20}
    webp = job(
        image.sync(
            client=client,
            body=FilesForm(file=[file("photo.jpg")]),
            format_=ImageFormat.WEBP,
            fit=ImageFit.COVER,
            crop=[0, 0, 800, 600],
            **size,
        )
    )
    fetched = job(fetch.sync(client=client, body=DoorInput(urls=[f"{origin}/7"]), wait=20))
    raw = job(
        image_named.sync(
            "photo.jpg",
            client=client,
            body=file("photo.jpg"),
            format_=ImageNamedFormat.PNG,
            **size,
        )
    )
    stored = store_file.sync(client=client, body=StoreFileFilesBody(file=file("access.log")))
    by_id = DoorInput(file_ids=[stored.id] * 2, tag="stored")
    several = job(
        compress.sync(client=client, body=by_id, format_=CompressFormat.ZSTD, tag="stored", wait=20)
    )
    [result] = raw.items[0].results
    content = get_content.sync(result.id, client=client)
    refused = compress.sync(client=client, body=FilesForm(file=[file("access.log")]), level=77)
    assert isinstance(refused, ProblemView), refused

print(
    json.dumps(
        {
            "jobs": [compressed.id, webp.id, fetched.id],
            "level": compressed.steps[0].params["level"],
            "png": content.payload.read(4).hex(),
            "names": [item.results[0].name for item in several.items],
            "tag": several.tag,
            "code": refused.code,
        }
    )
)
