"""Who made a picture and whose it is: found in EXIF, IPTC and XMP, and written again, alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from io import BytesIO
from typing import Any, BinaryIO
from xml.parsers import expat
from xml.sax.saxutils import escape

from app.ops.base import opened
from app.ops.imaging.loading import Header
from app.ops.imaging.tiff import read_texts
from app.ops.imaging.vips import libvips

_LONGEST = 2_000
"""Characters of one statement."""

_MOST_XMP_BYTES = 1 << 20

_EXIF = b"Exif\x00\x00"
"""What stands before the block in a JPEG, and in what libvips gives of other files."""

# Of TIFF and EXIF.
_ARTIST, _COPYRIGHT = 0x013B, 0x8298

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
}
_BY_LANGUAGE = '<rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt>'
_XMP = {
    "notice": ("dc:rights", _BY_LANGUAGE),
    "terms": ("xmpRights:UsageTerms", _BY_LANGUAGE),
    "creator": ("dc:creator", "<rdf:Seq><rdf:li>{}</rdf:li></rdf:Seq>"),
    "credit": ("photoshop:Credit", "{}"),
    "statement": ("xmpRights:WebStatement", "{}"),
}
"""What XMP calls a statement, and what it is written as."""

# Namespace and local name as expat joins them.
_BY_XMP_NAME = {
    f"{_NAMESPACES[prefix]} {local}": statement
    for statement, (name, _) in _XMP.items()
    for prefix, local in [name.split(":")]
}

# IPTC-IIM 4.2, record 2: by-line, credit, copyright notice.
_BY_IPTC_NUMBER = {80: "creator", 110: "credit", 116: "notice"}


@dataclass(frozen=True, slots=True)
class Rights:
    """Statements about rights, each empty if there is none."""

    notice: str = ""
    creator: str = ""
    credit: str = ""
    terms: str = ""
    statement: str = ""
    """A URL, by the standard."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


def find_rights(header: Header) -> Rights:
    """Collect what a picture says: EXIF (or a TIFF's own tags), else XMP, else IPTC.

    Never raises on content: what cannot be read says nothing.
    """
    picture = header.image
    found = Rights()
    # Not as libvips has it, which makes question marks of all that is not UTF-8.
    if header.kind == "tiff":
        with opened(header.content) as file:
            found = _from_tags(file)
    elif picture.get_typeof("exif-data"):
        exif = bytes(picture.get("exif-data"))
        found = _from_tags(BytesIO(exif.removeprefix(_EXIF)))
    for place, read in (("xmp-data", _from_xmp), ("iptc-data", _from_iptc)):
        if picture.get_typeof(place):
            found = _filled(found, read(bytes(picture.get(place))))
    return found


def with_rights_only(picture: Any, rights: Rights) -> Any:
    """Give the picture with these statements as its only EXIF and XMP."""
    pyvips = libvips()
    picture = picture.copy()
    for name in picture.get_fields():
        if name.startswith(("exif-", "xmp-", "iptc-", "photoshop-", "jpeg-thumbnail")):
            picture.remove(name)
    for tag, text in (("Copyright", rights.notice), ("Artist", rights.creator)):
        if text:
            # The form in which libvips gives and takes a tag; it reads up to the last bracket.
            value = f"{text} (-, ASCII, {len(text)} components, {len(text)} bytes)"
            picture.set_type(pyvips.GValue.gstr_type, f"exif-ifd0-{tag}", value)
    if rights:
        picture.set_type(pyvips.GValue.blob_type, "xmp-data", _as_xmp(rights))
    return picture


def _filled(first: Rights, second: Rights) -> Rights:
    return Rights(*(getattr(first, one.name) or getattr(second, one.name) for one in fields(first)))


def _tidy(text: str) -> str:
    """Leave out what XML cannot hold, and what nobody reads to the end."""
    return "".join(c for c in text if c.isprintable() or c == " ").strip()[:_LONGEST]


def _from_tags(file: BinaryIO) -> Rights:
    texts = read_texts(file, (_COPYRIGHT, _ARTIST))
    return Rights(
        notice=_statement(texts.get(_COPYRIGHT, b"")), creator=_statement(texts.get(_ARTIST, b""))
    )


def _statement(text: bytes) -> str:
    # Copyright may be two, the photographer's and the editor's, a zero between them.
    parts = (_tidy(_decoded(part)) for part in text.split(b"\x00"))
    return "; ".join(part for part in parts if part)[:_LONGEST]


def _from_xmp(packet: bytes) -> Rights:
    if len(packet) > _MOST_XMP_BYTES:
        return Rights()
    reader = _XmpReader()
    try:
        reader.read(packet)
    except expat.ExpatError:
        return Rights()
    return Rights(**{name: _tidy("; ".join(texts)) for name, texts in reader.found.items()})


class _XmpReader:
    """Picks the statements out of an RDF packet; a packet that declares entities says nothing."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self._path: list[str | None] = []
        self._text: list[str] = []

    def read(self, packet: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(packet.strip(b"\x00 \r\n\t"), True)

    def _on_doctype(self, *_declared: object) -> None:
        raise expat.ExpatError("XMP has no document type")

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        for attribute, value in attributes.items():
            if attribute in _BY_XMP_NAME:
                self._note(_BY_XMP_NAME[attribute], value)
        inherited = self._path[-1] if self._path else None
        self._path.append(_BY_XMP_NAME.get(name, inherited))
        self._text.clear()

    def _on_end(self, _name: str) -> None:
        statement = self._path.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        if statement and text:
            self._note(statement, text)

    def _note(self, statement: str, text: str) -> None:
        texts = self.found.setdefault(statement, [])
        # One statement in ten languages, and mostly one text.
        if text not in texts:
            texts.append(text)


def _from_iptc(block: bytes) -> Rights:
    texts: dict[str, list[str]] = {}
    for number, value in _iptc_datasets(block):
        if number in _BY_IPTC_NUMBER:
            texts.setdefault(_BY_IPTC_NUMBER[number], []).append(_decoded(value))
    return Rights(**{name: _tidy("; ".join(found)) for name, found in texts.items()})


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _iptc_datasets(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Go through record 2, wherever in the Photoshop resources it begins (IIM 4.2, 1.5).

    A data set is 0x1C, record, number, two bytes of length, value. Longer ones (with the
    length's high bit) are pictures, not statements; the walk ends there.
    """
    resource = block.find(b"8BIM\x04\x04")
    at = block.find(b"\x1c", max(resource, 0))
    while at >= 0 and len(block) >= at + 5 and block[at] == 0x1C:
        record, number = block[at + 1], block[at + 2]
        length = int.from_bytes(block[at + 3 : at + 5])
        if length & 0x8000:
            return
        if record == 2:
            yield number, block[at + 5 : at + 5 + length]
        at += 5 + length


def _as_xmp(rights: Rights) -> bytes:
    namespaces = " ".join(f'xmlns:{prefix}="{where}"' for prefix, where in _NAMESPACES.items())
    parts = [
        f"<{name}>{form.format(escape(text))}</{name}>"
        for statement, (name, form) in _XMP.items()
        if (text := getattr(rights, statement))
    ]
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {namespaces}><rdf:Description rdf:about="">'
        f"{''.join(parts)}</rdf:Description></rdf:RDF></x:xmpmeta>"
        # libvips puts XMP into a chunk of a PNG that readers take for Latin-1.
    ).encode("ascii", "xmlcharrefreplace")
