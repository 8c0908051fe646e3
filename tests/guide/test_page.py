"""guide.html: one file, all that was measured, and nothing from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from app.guide.advice import WORKERS_ROW, advice
from app.guide.document import Guide, Machine, Measured, Missing, Row
from app.guide.page import page
from app.guide.situations import SITUATIONS
from tests.guide.test_advice import row

VOID = {"meta", "br", "rect", "line", "link", "img"}


class Outline(HTMLParser):
    """Checks that elements end in the order in which they began; keeps what is asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open = list[str]()
        self.attributes = list[tuple[str, str | None]]()
        self.names = set[str]()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def guide(*rows: Row, complete: bool = True, noise_percent: float = 3.0) -> Guide:
    about = SITUATIONS[2]
    measured = Measured(
        key=about.key,
        title=about.title,
        guide_says=about.guide_says,
        explained=about.explained,
        noise_percent=noise_percent,
        others_percent=31,
        stolen_percent=0,
        held_up_percent=0,
        noise_explained="Taken from the processors meanwhile: 31 % by other processes.",
        took_s=1,
        complete=complete,
        rows=rows,
        missing=(Missing(what="<joblib>", why="it is not installed"),),
    )
    machine = Machine(
        system="Linux",
        processor="A <fast> one",
        cores=2,
        memory_bytes=8 << 30,
        free_bytes=4 << 30,
        load=0.5,
        python="3.14.0",
        free_threaded=False,
        libraries={"httpx": "0.28"},
    )
    return Guide(
        offload="1",
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        took_s=1,
        asked_s=1,
        complete=complete,
        machine=machine,
        situations=(measured,),
        advice=advice(rows),
    )


@pytest.fixture(scope="module")
def text() -> str:
    return page(guide(row(WORKERS_ROW, n1=10, n2=20)))


def test_it_is_whole_and_needs_nothing_else(text: str) -> None:
    outline = Outline(text)
    assert outline.open == []
    assert outline.names.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not [value for name, value in outline.attributes if name in ("src", "style", "onclick")]
    targets = [value for name, value in outline.attributes if name == "href"]
    assert targets == ["#pictures"]
    assert "url(" not in text
    assert "//" not in text
    assert "prefers-color-scheme: dark" in text


def test_what_is_shown_is_escaped(text: str) -> None:
    assert "A &lt;fast&gt; one" in text
    assert "&lt;joblib&gt;" in text


def test_bars_are_as_long_as_their_medians_on_one_scale(text: str) -> None:
    drawn = text.split("<svg")[1:]
    assert len(drawn) == 2
    widths = []
    for one in drawn:
        svg = ET.fromstring("<svg" + one.partition("</svg>")[0] + "</svg>")
        rect = svg.find("rect")
        assert rect is not None
        widths.append(float(rect.attrib["width"]))
    # The longest whisker is the whole width: 20 and 1 % of it.
    assert widths == [pytest.approx(100 * 10 / 20.2, 0.01), pytest.approx(100 * 20 / 20.2, 0.01)]


def test_the_settings_are_there_to_be_copied(text: str) -> None:
    assert "<pre>OFFLOAD_POOL_WORKERS=2</pre>" in text


def test_where_nothing_follows_nothing_is_there_to_be_copied() -> None:
    text = page(guide())
    assert "all of them keep their defaults" in text
    assert "<pre>" not in text


def test_a_machine_that_varies_and_an_interrupt_are_told_at_the_top() -> None:
    text = page(guide(row(WORKERS_ROW, n1=10, n2=20), complete=False, noise_percent=80))
    assert "This run was interrupted" in text
    assert "differed from itself by up to 80 %. Taken from the processors meanwhile: 31 %" in text


def test_of_a_quiet_machine_nothing_is_explained(text: str) -> None:
    assert "Noise: 3 %.</p>" in text
    assert "Taken from the processors" not in text
