"""The tutorial's design, to be measured against: whole files through memory and the pipe.

This is what «offload CPU work from FastAPI» comes to when one follows the usual recipe: read the
upload, hand the bytes to a process pool, answer with the bytes that come back.
"""

import asyncio
import zlib
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO

from fastapi import FastAPI, Request, Response, UploadFile
from PIL import Image

app = FastAPI()
executor = ProcessPoolExecutor()


def thumbnail(data: bytes, width: int, height: int) -> bytes:
    """Shrink a picture into a box."""
    with Image.open(BytesIO(data)) as image:
        image.thumbnail((width, height))
        small = BytesIO()
        image.save(small, "JPEG", quality=80)
    return small.getvalue()


@app.post("/compress")
async def compress_file(file: UploadFile) -> Response:
    data = await file.read()
    loop = asyncio.get_running_loop()
    result = await loop.run_in_executor(executor, zlib.compress, data, 9)
    return Response(result, media_type="application/octet-stream")


@app.post("/thumbnail")
async def thumbnail_file(file: UploadFile, width: int = 800, height: int = 600) -> Response:
    data = await file.read()
    loop = asyncio.get_running_loop()
    result = await loop.run_in_executor(executor, thumbnail, data, width, height)
    return Response(result, media_type="image/jpeg")


@app.put("/count")
async def count_bytes(request: Request) -> dict[str, int]:
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
    return {"size_bytes": size_bytes}


@app.get("/ping")
async def ping() -> dict[str, str]:
    return {"status": "alive"}
