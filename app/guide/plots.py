"""Bars as SVG: how good each contender was, with a whisker from its least to its most."""

from __future__ import annotations

from html import escape

from app.guide.document import Contender, Row
from app.guide.sentences import shown

HEIGHT = 12.0
"""Of a bar's picture, whose width is 100 and is stretched to what is there."""
LEAST_WIDTH = 0.4


def bars(row: Row) -> str:
    """Give a list with a bar for each contender, on one scale that begins at 0."""
    most = max(one.most for one in row.contenders) or 1.0
    return f'<ul class="bars">{"".join(_line(one, row, most) for one in row.contenders)}</ul>'


def _line(one: Contender, row: Row, most: float) -> str:
    ahead = bool(row.brief) and one.name in row.leaders
    kind = "lead" if ahead else "rest" if one.judged else "base"
    note = "" if one.judged else " <small>to compare</small>"
    if one.name in row.recommended:
        note = " <small>the guide&rsquo;s</small>"
    spread = f"{shown(one.least)} to {shown(one.most)}"
    said = f"{one.name}: {shown(one.middle)} {row.unit}, {spread}"
    return (
        f'<li class="{kind}"><span class="name">{escape(one.name)}{note}</span>'
        f'<span class="bar-cell">{_bar(one, most, said)}</span>'
        f'<span class="value">{shown(one.middle)} {escape(row.unit)} '
        f"<small>{spread}</small></span></li>"
    )


def _bar(one: Contender, most: float, said: str) -> str:
    width, left, right = (100 * value / most for value in (one.middle, one.least, one.most))
    middle = HEIGHT / 2
    return (
        f'<svg class="bar" viewBox="0 0 100 {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(said)}">'
        f'<rect x="0" y="1" width="{max(LEAST_WIDTH, width):.2f}" height="{HEIGHT - 2:g}"/>'
        f'<line x1="{left:.2f}" x2="{right:.2f}" y1="{middle:g}" y2="{middle:g}"/>'
        + "".join(_cap(x, middle) for x in (left, right))
        + "</svg>"
    )


def _cap(x: float, middle: float) -> str:
    return f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{middle - 2.5:g}" y2="{middle + 2.5:g}"/>'
