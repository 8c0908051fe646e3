"""What a caller of the service needs: upload, poll, download."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx

from app.api.schemas import FileView, ItemView, JobView
from app.demo.checks import check


class Client:
    """What a caller of the service needs: upload, poll, download."""

    def __init__(self, http: httpx.AsyncClient, folder: Path) -> None:
        """Use a client whose base is the service; results go to `folder`."""
        self.http = http
        self._folder = folder

    async def upload(
        self, door: str, source: Path, name: str | None = None, **params: str | int
    ) -> JobView:
        """Send a file to an operation's door, as a browser's form does; gives the done job."""
        content = await asyncio.to_thread(source.read_bytes)
        form = {"file": (name or source.name, content)}
        response = await self.http.post(door, params=params, files=form)
        return await self.done(response)

    async def done(self, response: httpx.Response) -> JobView:
        """Follow the answer to a submission until its job is done."""
        job = _job(response)
        while not job.done:
            job = _job(await self.http.get(job.links["self"], params={"wait": 10}))
        return job

    async def download(self, file: FileView) -> bytes:
        """Give a file's content, and keep it."""
        response = await self.http.get(file.href)
        check(response.status_code == httpx.codes.OK, f"{file.name}: {response.text}")
        digest = hashlib.sha256(response.content).hexdigest()
        check(digest == file.sha256, f"{file.name} does not have the digest that was promised")
        await asyncio.to_thread(self._keep, file.name, response.content)
        return response.content

    def _keep(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / Path(name).name).write_bytes(content)


def _job(response: httpx.Response) -> JobView:
    check(response.is_success, f"{response.request.url.path}: {response.text}")
    return JobView.model_validate_json(response.content)


def items_of(job: JobView) -> list[ItemView]:
    """Give a job's items; raises `DemoFailed` if it shows none."""
    check(bool(job.items), f"{job.id} shows no items")
    return job.items or []
