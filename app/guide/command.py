"""`offload guide`: its options, what it prints and writes, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from app.guide.situations import BY_KEY, SITUATIONS, About

USUAL_S = 120.0
QUICK_S = 20.0
KEYS = ", ".join(BY_KEY)
INTERRUPTED, NOT_WRITTEN = 130, 1
HTML, JSON = "guide.html", "guide.json"


def guide(
    quick: Annotated[bool, typer.Option("--quick", help=f"Take {QUICK_S:.0f} s.")] = False,
    only: Annotated[str, typer.Option(help=f"Situations, by comma: {KEYS}.", metavar="NAMES")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print guide.json, no table.")] = False,
    env: Annotated[
        bool,
        typer.Option("--env", help="Print the settings that follow, as lines of a .env."),
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=3600, help=f"Take about this long; {USUAL_S:.0f} by default."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for guide.html and guide.json.", metavar="DIR")
    ] = Path(),
) -> None:
    """Measure on this machine which model of concurrency is for which work, in some two minutes."""
    if quick and seconds is not None:
        raise _slip("--quick and --seconds both say how long; give one of them.")
    if as_json and env:
        raise _slip("--json and --env both say what to print; give one of them.")
    situations = _chosen(only, env=env)
    # At need: this module is imported by every command.
    from rich.console import Console

    from app.guide.run import run
    from app.guide.terminal import show, watcher

    errors = Console(stderr=True)
    written = _writable(out)
    asked_s = seconds or (QUICK_S if quick else USUAL_S)
    with watcher(errors, asked_s) as watching:
        found = run(situations, asked_s, watching)
    # Before anything is printed: whoever reads that may have gone meanwhile.
    if written and any(one.rows for one in found.situations):
        from app.guide.page import page

        written = _write(out, {HTML: page(found), JSON: found.model_dump_json(indent=2) + "\n"})
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    elif env:
        from app.guide.advice import env_lines

        typer.echo("\n".join(env_lines(found.advice)))
    else:
        show(found, Console())
    if not found.complete:
        typer.echo("Interrupted: what had been measured until then is above.", err=True)
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if written else NOT_WRITTEN)


def _chosen(only: str, *, env: bool) -> Sequence[About]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in BY_KEY:
            raise _slip(f"--only: there is no situation {name!r}; there are {KEYS}.")
    if not names and env:
        from app.guide.advice import NEEDED

        names = list(NEEDED)
    return [about for about in SITUATIONS if not names or about.key in names]


def _slip(sentence: str) -> typer.Exit:
    typer.echo(sentence, err=True)
    return typer.Exit(2)


def _writable(folder: Path) -> bool:
    """Tell, before minutes are spent, whether the files can be written; say so if not."""
    return _write(folder, {".offload-guide": ""}, keep=False)


def _write(folder: Path, files: dict[str, str], *, keep: bool = True) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            unfinished = folder / f".{name.lstrip('.')}.{'part' if keep else 'try'}"
            unfinished.write_text(text, encoding="utf-8")
            if keep:
                unfinished.replace(folder / name)
                typer.echo(f"Written: {folder / name}", err=True)
            else:
                unfinished.unlink()
    except OSError as error:
        typer.echo(
            f"{HTML} and {JSON} cannot be written to {folder}: {error.strerror}. "
            "What is measured is printed all the same.",
            err=True,
        )
        return False
    return True
