"""The demonstration: one job of each kind over real HTTP, against a service of its own.

It does what a client does (submit, poll, download), and then checks what it got.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

import httpx
import typer

from app.demo.checks import DemoFailed
from app.demo.client import Client
from app.demo.jobs import all_jobs
from app.demo.samples import Inputs, origin
from app.demo.table import table
from app.served import NotServed, service, tail

WORK_TIMEOUT_S = 300


async def run(keep: Path | None) -> int:
    """Run the demonstration and print its table.

    Args:
        keep: where to leave inputs and results; made if missing. None leaves nothing behind.

    Returns:
        0 if all is as it should be, else 1, with what was wrong on standard error.
    """
    # As an interrupt does: the service must not outlive this process, nor the folder either.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="offload-demo-") as temporary:
        folder = Path(temporary)
        log_path = folder / "service.log"
        try:
            inputs = await asyncio.to_thread(Inputs.made_in, keep or folder)
            async with (
                asyncio.timeout(WORK_TIMEOUT_S),
                origin(inputs) as origin_url,
                service(folder / "data", log_path) as served,
                httpx.AsyncClient(base_url=served.url, timeout=30, trust_env=False) as http,
            ):
                client = Client(http, (keep or folder) / "results")
                rows = await all_jobs(client, inputs, origin_url)
        except (DemoFailed, NotServed, httpx.HTTPError, OSError) as error:
            typer.echo(f"Not as it should be: {str(error) or type(error).__name__}", err=True)
            typer.echo(await asyncio.to_thread(tail, log_path), err=True)
            return 1
    for line in table(rows):
        typer.echo(line)
    typer.echo("\nEvery result was downloaded and checked; the bad URLs failed alone.")
    return 0
