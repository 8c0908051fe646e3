"""Jobs, files and deliveries of a service, for people at a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from offload.cli.asking import FAILED, service
from offload.cli.settings import KeyFileOption, ServerOption
from offload.cli.showing import Silent, complain, plain, size

JobIds = Annotated[list[str], typer.Argument(metavar="JOB", help="Ids, as job_….")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id, as job_….")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, a document a line.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most to list.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")]

GROUP: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
jobs = typer.Typer(help="Jobs of a service: list, show, watch, cancel, retry, download.", **GROUP)
files = typer.Typer(help="Files that a service stores by themselves.", **GROUP)
deliveries = typer.Typer(help="Webhooks of a service: what was sent, and again.", **GROUP)


def table(documents: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a line for each document."""
    for document in documents:
        if as_json:
            typer.echo(json.dumps(document))
        else:
            typer.echo("\t".join(_cell(document.get(name)) for name in columns))


def _cell(value: Any) -> str:
    if isinstance(value, dict):  # counts
        value = " ".join(f"{name}={count}" for name, count in value.items() if count)
    return plain("-" if value is None else str(value))


def _show(document: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


# -- jobs ----------------------------------------------------------------------------------------


@jobs.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only those that are so.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    limit: Limit = 20,
    json: Json = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List jobs, newest first: id, status, counts, when, tag."""
    columns = ("id", "status", "counts", "created_at", "tag")
    with service(server, key_file) as client:
        found = islice(client.jobs.list(status=status, tag=tag), limit)
        table((job.document for job in found), columns, as_json=json)


@jobs.command("show")
def show_job(job: JobId, server: ServerOption = None, key_file: KeyFileOption = None) -> None:
    """Print a job, with all its items."""
    with service(server, key_file) as client:
        found = client.jobs.get(job)
        _show({**found.document, "items": [item.document for item in found.items()]})


@jobs.command("watch")
def watch_jobs(
    job: JobIds,
    json: Json = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Follow jobs until they are over; exit code 1 if one of them failed."""
    bad = 0
    with service(server, key_file) as client:
        for job_id in job:
            found = client.jobs.get(job_id)
            for event in found.events():
                if json:
                    typer.echo(_line({"event": event.kind, "data": event.document}))
                elif event.kind == "item":
                    typer.echo(_item_line(event.document))
                elif sys.stderr.isatty() or found.done:
                    counts = _cell(found.counts)
                    typer.echo(f"{found.id}\t{found.status}\t{counts}", err=not found.done)
            bad += found.status != "succeeded"
    raise typer.Exit(FAILED if bad else 0)


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document)


def _item_line(item: Mapping[str, Any]) -> str:
    error = item.get("error") or {}
    results = ", ".join(f"{one['name']} ({size(one['size_bytes'])})" for one in item["results"])
    what = f"{error.get('code')}: {error.get('detail')}" if error else results or "-"
    return "\t".join(map(_cell, (item["index"], item["status"], item["name"], what)))


@jobs.command("cancel")
def cancel_jobs(job: JobIds, server: ServerOption = None, key_file: KeyFileOption = None) -> None:
    """Stop what is unfinished; results that exist stay."""
    with service(server, key_file) as client:
        for job_id in job:
            found = client.jobs.get(job_id).cancel()
            typer.echo(f"{found.id}\t{found.status}")


@jobs.command("retry")
def retry_jobs(job: JobIds, server: ServerOption = None, key_file: KeyFileOption = None) -> None:
    """Run what has failed again, and nothing else."""
    with service(server, key_file) as client:
        for job_id in job:
            found = client.jobs.get(job_id).retry()
            typer.echo(f"{found.id}\t{found.status}")


@jobs.command("delete")
def delete_jobs(job: JobIds, server: ServerOption = None, key_file: KeyFileOption = None) -> None:
    """Remove jobs with their files; what is unfinished is canceled."""
    with service(server, key_file) as client:
        for job_id in job:
            client.jobs.get(job_id).delete()


@jobs.command("download")
def download_jobs(
    job: JobIds,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to; made if need be.")
    ] = Path(),
    force: Force = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Save all results of jobs, once these are over; exit code 1 if an item has none."""
    from offload.saving import safe_parts

    bad = 0
    taken: set[Path] = set()
    with service(server, key_file) as client:
        for job_id in job:
            found = client.jobs.get(job_id).wait()
            for item in found.items():
                if item.error is not None:
                    bad += 1
                    complain(f"{item.name}: {item.error.detail} [{item.error.code}]")
                for file in item.results:
                    path = _free(output.joinpath(*safe_parts(file.name)), taken)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    typer.echo(file.save(path, overwrite=force))
    raise typer.Exit(FAILED if bad else 0)


def _free(path: Path, taken: set[Path]) -> Path:
    """Give a path that no other result of this command has: `a (2).txt`."""
    name, number = PurePath(path.name), 1
    while path in taken:
        number += 1
        path = path.with_name(f"{name.stem} ({number}){name.suffix}")
    taken.add(path)
    return path


# -- files ---------------------------------------------------------------------------------------


@files.command("list")
def list_files(
    limit: Limit = 20,
    json: Json = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List files that were stored by themselves, newest first: id, size, name, when it goes."""
    columns = ("id", "size_bytes", "name", "expires_at")
    with service(server, key_file) as client:
        found = islice(client.files.list(), limit)
        table((one.document for one in found), columns, as_json=json)


@files.command("upload")
def upload_files(
    file: Annotated[list[Path], typer.Argument(metavar="FILE", help="What to store.")],
    json: Json = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Store files for later jobs; prints their ids."""
    with service(server, key_file) as client:
        for path in file:
            made = client.files.upload(path, told=Silent().add)
            table([made.document], ("id", "size_bytes", "name"), as_json=json)


@files.command("show")
def show_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its id, as file_….")],
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Print what is known of a file."""
    with service(server, key_file) as client:
        _show(client.files.get(file).document)


@files.command("download")
def download_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Its id, as file_….")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|DIR", help="Where to; - to print it.")
    ] = ".",
    force: Force = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Save a file."""
    with service(server, key_file) as client:
        found = client.files.get(file)
        if output != "-":
            typer.echo(found.save(output, overwrite=force))
            return
        for piece in found.iter_bytes():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@files.command("delete")
def delete_files(
    file: Annotated[list[str], typer.Argument(metavar="FILE", help="Ids, as file_….")],
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Remove stored files; jobs that were given them keep what they need."""
    with service(server, key_file) as client:
        for file_id in file:
            client.files.delete(file_id)


# -- deliveries ----------------------------------------------------------------------------------


@deliveries.command("list")
def list_deliveries(
    job: Annotated[str | None, typer.Option(help="Only those of this job.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only pending, sending, delivered or dead ones.")
    ] = None,
    limit: Limit = 20,
    json: Json = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """List deliveries, newest first: id, status, event, job, when, endpoint."""
    columns = ("id", "status", "event", "job_id", "created_at", "url")
    with service(server, key_file) as client:
        found = islice(client.deliveries.list(job=job, status=status), limit)
        table((one.document for one in found), columns, as_json=json)


@deliveries.command("show")
def show_delivery(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, as msg_….")],
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Print a delivery with its attempts."""
    with service(server, key_file) as client:
        _show(client.deliveries.get(delivery).document)


@deliveries.command("replay")
def replay_deliveries(
    delivery: Annotated[list[str], typer.Argument(metavar="DELIVERY", help="As msg_….")],
    server: ServerOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Send events again, each under its id."""
    with service(server, key_file) as client:
        for delivery_id in delivery:
            found = client.deliveries.replay(delivery_id)
            typer.echo(f"{found.id}\t{found.status}")
