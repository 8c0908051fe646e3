"""`guide.html`: all of a run on one page that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from app.guide.advice import env_lines
from app.guide.document import Advice, Guide, Machine, Measured, Row
from app.guide.plots import bars
from app.guide.sentences import AGREES, BETWEEN, noise_told
from app.guide.statistics import NOISY, Agrees

TITLE = "Threads, processes or asyncio?"
CHIPS: dict[Agrees, str] = {"yes": "yes", "no": "no"}
METHOD = (
    "All contenders of a row do the same work, or as much of it as the row says, and take turns, "
    "round after round, in an order that "
    "turns with them; a first round is not counted. Figures are medians; the small ones are the "
    "least and the most of the rounds, as is the whisker of a bar. Two contenders differ if "
    "all their rounds together say so (Mann-Whitney U test, 5 %) and their medians lie more than "
    "2 % apart. Others are called equal only if their rounds differ from their own median by less "
    "than 25 %. Coloured bars are those that were ahead. Noise is by how much the same piece of "
    "work on all cores differed from itself before and after a situation: a warning, no more."
)


def page(guide: Guide) -> str:
    """Give the page."""
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f"{_head(guide)}{_glance(guide.situations)}{_advice(guide.advice)}"
        f"{''.join(map(_situation, guide.situations))}{_foot(guide)}"
        "</main>\n</body>\n</html>\n"
    )


def _head(guide: Guide) -> str:
    return (
        f"<header><h1>{TITLE}</h1>"
        '<p class="lede">What a guide to concurrency in Python says, and what was measured on this '
        f"machine in {guide.took_s:.0f} seconds.</p>"
        f'<p class="machine">{_machine(guide.machine)}<br>{guide.made_at:%Y-%m-%d %H:%M} UTC, '
        f"Offload {escape(guide.offload)}</p>{_warnings(guide)}</header>\n"
    )


def _machine(machine: Machine) -> str:
    lock = ", without the interpreter lock" if machine.free_threaded else ""
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    return escape(
        f"{machine.processor}, {cores}, {machine.memory_bytes / (1 << 30):.0f} GiB, "
        f"{machine.system}, Python {machine.python}{lock}. "
        f"Load at the start: {machine.load:g}."
    )


def _warnings(guide: Guide) -> str:
    said = []
    if not guide.complete:
        said.append("This run was interrupted: what follows is not all of it.")
    worst = max(guide.situations, key=lambda one: one.noise_percent, default=None)
    if worst is not None and worst.noise_percent > NOISY * 100:
        said.append(
            "The machine varied: the same piece of work differed from itself by up to "
            f"{worst.noise_percent:.0f} %. {worst.noise_explained} Where that hides a difference, "
            "the row says so."
        )
    return "".join(f'<p class="warn">{escape(one)}</p>' for one in said)


def _glance(situations: Sequence[Measured]) -> str:
    items = "".join(
        f'<li><a href="#{one.key}">{escape(one.title)}</a><div class="found">'
        f"{''.join(map(_found, one.rows)) or '<p>Not measured.</p>'}</div></li>"
        for one in situations
    )
    return f'<section><h2>At a glance</h2><ul class="glance">{items}</ul></section>\n'


def _found(row: Row) -> str:
    chip = _chip(row) or _unsaid(row)
    return (
        f"<p><span>{escape(row.title)} <small>{escape(row.figure)}</small></span>"
        f"<b>{escape(row.brief)}</b><span>{chip}</span></p>"
    )


def _unsaid(row: Row) -> str:
    """Give a chip for a row of which the guide says nothing and nobody is ahead."""
    said = AGREES[row.verdict] if not row.brief and row.verdict in BETWEEN else ""
    return f'<span class="chip">{said}</span>' if said else ""


def _chip(row: Row) -> str:
    if not (said := AGREES[row.agrees]):
        return ""
    return f'<span class="chip {CHIPS.get(row.agrees, "")}">{said}</span>'


def _advice(advice: Sequence[Advice]) -> str:
    told = "".join(
        f"<dt>{escape(one.variable)}{'=' + escape(one.value) if one.value else ''}</dt>"
        f"<dd>{escape(one.because)} Default: {escape(one.default)}.</dd>"
        for one in advice
    )
    lines = [line for line in env_lines(advice) if not line.startswith("#")]
    block = (
        "<p>Lines for a <code>.env</code>; <code>offload guide --env</code> prints them.</p>"
        f"<pre>{escape(chr(10).join(lines))}</pre>"
        if lines
        else "<p>Nothing: all of them keep their defaults.</p>"
    )
    return (
        f'<section><h2>What follows for this service</h2><div class="card">{block}'
        f'<dl class="advice">{told}</dl></div></section>\n'
    )


def _situation(one: Measured) -> str:
    missing = "".join(
        f"<li>Not measured: {escape(it.what)}: {escape(it.why)}.</li>" for it in one.missing
    )
    return (
        f'<section id="{one.key}"><h2>{escape(one.title)}</h2>'
        f'<p class="says"><b>The guide:</b> {escape(one.guide_says)}</p>'
        f'<p class="says">Why: <code>{escape(one.explained)}</code>. '
        f"{escape(noise_told(one))}</p>"
        f"{''.join(_cards(one.rows))}"
        f"{f'<ul class=missing>{missing}</ul>' if missing else ''}</section>\n"
    )


def _cards(rows: Sequence[Row]) -> list[str]:
    """Give a card for each case; the figures of one case stand in one."""
    cards: dict[str, list[Row]] = {}
    for row in rows:
        cards.setdefault(row.title, []).append(row)
    return [
        f'<div class="card"><h3>{escape(title)}</h3><p class="work">{escape(of[0].work)}</p>'
        f"{''.join(map(_plot, of))}</div>"
        for title, of in cards.items()
    ]


def _plot(row: Row) -> str:
    figure = ", ".join(filter(None, (row.figure, row.unit)))
    return (
        f'<div class="plot"><p><b>{escape(row.sentence)}</b>{_chip(row) if row.brief else ""}</p>'
        f'<p class="figure">{escape(figure)}; {row.better} is better</p>{bars(row)}</div>'
    )


def _foot(guide: Guide) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in guide.machine.libraries.items())
    return f"<footer><p>{escape(METHOD)}</p><p>{escape(libraries)}</p></footer>\n"
