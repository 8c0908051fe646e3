"""Formats, their options, and what of the metadata comes through."""

import io
from xml.etree import ElementTree as ET

import pytest
from PIL import (
    Image,
    ImageChops,
    ImageCms,
    ImageDraw,
    ImageFilter,
    ImageFont,
    ImageStat,
    PngImagePlugin,
)

from app.errors import DeadlineExceeded, InvalidParameter
from app.ops.image import ImageParams
from app.ops.imaging import encoding
from app.ops.imaging.encoding import Encoding, affordable
from benchmarks.corpus import photographs
from tests.ops.image_cases import (
    animation,
    close,
    corners,
    encoded,
    half_clear,
    make,
    noise,
    plain,
)

FORMATS = ("jpeg", "png", "webp", "avif", "gif", "tiff")
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "avif": ".avif", "gif": ".gif"}


def photograph(width: int = 300, height: int = 200) -> Image.Image:
    """Something without a flat spot, and not only noise."""
    return Image.blend(
        corners(width, height).filter(ImageFilter.GaussianBlur(9)), noise(width, height), 0.06
    )


def drawing() -> Image.Image:
    picture = plain(300, 200, "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 40, 160, 160), "navy")
    draw.text((180, 90), "Offload", "black")
    return picture


@pytest.mark.parametrize("kind", FORMATS)
def test_keep_keeps_the_kind_whatever_the_name_says(make_work, kind):
    made = make(make_work, encoded(plain(20, 20), kind), "a.b.wrong")
    suffix = SUFFIXES.get(kind, ".tiff")
    assert made.picture.format == kind.upper()
    assert (made.name, made.media_type) == (f"a.b{suffix}", f"image/{kind}")
    assert made.facts["format"] == kind


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_becomes_every_other(make_work, kind, written):
    made = make(make_work, encoded(corners(64, 48), kind), format=written, width=32)
    assert made.picture.format == written.upper()
    assert made.picture.size == (32, 24)


@pytest.mark.parametrize("written", ["jpeg", "webp", "avif"])
def test_quality_decides_the_size(make_work, written):
    content = encoded(photograph())
    sizes = [
        len(make(make_work, content, format=written, quality=quality).content)
        for quality in (20, 60, 95)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(("written", "quality"), [("jpeg", 80), ("webp", 80), ("avif", 60)])
def test_the_default_quality_is_said_and_used(make_work, written, quality):
    content = encoded(photograph())
    unsaid = make(make_work, content, format=written)
    assert unsaid.facts["quality"] == quality
    said = make(make_work, content, format=written, quality=quality)
    assert said.content == unsaid.content
    assert said.content != make(make_work, content, format=written, quality=quality - 5).content


@pytest.mark.parametrize("written", FORMATS)
def test_the_same_input_gives_the_same_bytes(make_work, written):
    content = encoded(photograph(), "JPEG")
    first, second = (make(make_work, content, format=written, width=90) for _ in range(2))
    assert first.content == second.content


@pytest.mark.parametrize("written", ["png", "tiff", "webp", "avif"])
def test_lossless_is_lossless(make_work, written):
    picture = photograph(80, 60)
    made = make(make_work, encoded(picture), format=written, lossless=True)
    assert "quality" not in made.facts
    if written == "avif":
        # By way of YCbCr in 8 bits, as the usual decoders read it.
        assert close(made.picture.convert("RGB").tobytes(), picture.tobytes(), 1)
    else:
        assert made.picture.tobytes() == picture.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_what_cannot_be_lossless_says_so_when_the_kind_is_known(make_work, kind):
    with pytest.raises(InvalidParameter, match="cannot be lossless"):
        make(make_work, encoded(plain(9, 9), kind), lossless=True)


@pytest.mark.parametrize("written", ["jpeg", "png", "gif"])
def test_progressive_files_are(make_work, written):
    content = encoded(photograph(), "JPEG")
    for asked in (True, False):
        made = make(make_work, content, format=written, progressive=asked)
        told = {
            "jpeg": lambda one: "progressive" in one.picture.info,
            "png": lambda one: one.content[28] == 1,
            "gif": lambda one: bool(_gif_interlace(one.content)),
        }[written]
        assert told(made) == asked


def _gif_interlace(content: bytes) -> int:
    """Read the flag of the first image descriptor, behind colour table and extensions."""
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[at] == 0x21:
        at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    assert content[at] == 0x2C
    return content[at + 9] & 0x40


@pytest.mark.parametrize(
    ("written", "low", "high"),
    [("jpeg", 0, 5), ("jpeg", 5, 9), ("png", 0, 9), ("webp", 0, 9), ("avif", 0, 6)],
)
def test_effort_makes_files_smaller(make_work, written, low, high):
    content = encoded(photograph())
    sizes = [len(make(make_work, content, format=written, effort=e).content) for e in (low, high)]
    assert sizes[1] < sizes[0] * 0.99


def test_effort_finds_a_gif_a_better_palette(make_work):
    picture = photograph()
    errors = []
    for effort in (0, 9):
        made = make(make_work, encoded(picture), format="gif", effort=effort)
        difference = ImageChops.difference(made.picture.convert("RGB"), picture)
        errors.append(sum(ImageStat.Stat(difference).rms))
    assert errors[1] < errors[0]


def test_png_filters_are_used(make_work):
    # libvips' own default, no filter, needs more than twice the bytes of this slope.
    slope = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    assert len(make(make_work, encoded(slope)).content) < 6_000


@pytest.mark.parametrize(
    ("content", "written", "content_fact"),
    [
        (encoded(photograph(), "JPEG"), "jpeg", "photograph"),
        (encoded(photograph(), "PNG"), "jpeg", "photograph"),
        (encoded(photograph().convert("L"), "PNG"), "jpeg", "photograph"),
        (encoded(photograph().convert("RGBA"), "PNG"), "jpeg", "photograph"),
        (encoded(drawing(), "PNG"), "png", "drawing"),
        # With what JPEG leaves around its edges it makes a PNG of three times the JPEG's size.
        (encoded(drawing(), "JPEG", quality=95), "jpeg", "photograph"),
        (encoded(drawing().convert("RGBA"), "PNG"), "png", "drawing"),
        (encoded(half_clear(), "PNG"), "png", "drawing"),
        (animation("GIF"), "webp", "animation"),
    ],
    ids=range(9),
)
def test_auto_chooses_by_what_it_sees_and_says_so(make_work, content, written, content_fact):
    made = make(make_work, content, format="auto")
    assert (made.facts["format"], made.facts["content"]) == (written, content_fact)
    assert made.picture.format == written.upper()


def test_auto_takes_webp_for_a_photograph_that_is_see_through(make_work):
    picture = photograph()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    made = make(make_work, encoded(picture), format="auto")
    assert (made.facts["format"], made.picture.mode) == ("webp", "RGBA")


def _product() -> Image.Image:
    """A photograph, cut out along a soft edge; three quarters of it are transparent."""
    [content] = photographs(1, 640, 640)
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).ellipse((160, 120, 480, 560), 255)
    picture.putalpha(mask.filter(ImageFilter.GaussianBlur(1)))
    picture.paste((0, 0, 0, 0), (0, 0, 640, 100))
    return picture


@pytest.mark.parametrize(
    ("auto_webp", "written"), [("needed", "webp"), ("preferred", "webp"), ("never", "png")]
)
def test_a_photograph_that_is_cut_out_is_no_drawing(make_work, auto_webp, written):
    picture = _product()
    content = encoded(picture)
    made = make(make_work, content, format="auto", auto_webp=auto_webp)
    assert made.facts["format"] == written
    assert made.facts["content"] == "photograph with transparency"
    if written == "webp":
        assert len(made.content) < len(content) / 5
    shown, wanted = (
        Image.alpha_composite(Image.new("RGBA", one.size, "white"), one.convert("RGBA"))
        for one in (made.picture, picture)
    )
    off = ImageChops.difference(shown, wanted).convert("RGB")
    assert sum(ImageStat.Stat(off).mean) / 3 < 2.5
    _, most = ImageChops.difference(
        made.picture.convert("RGBA").getchannel("A"), picture.getchannel("A")
    ).getextrema()
    assert most <= 8


def test_a_photograph_before_a_white_wall_or_out_of_focus_is_no_drawing(make_work):
    wall = Image.alpha_composite(Image.new("RGBA", (640, 640), "white"), _product())
    assert make(make_work, encoded(wall.convert("RGB")), format="auto").facts["format"] == "jpeg"
    soft = _product().convert("RGB").filter(ImageFilter.GaussianBlur(12))
    assert make(make_work, encoded(soft), format="auto").facts["format"] == "jpeg"


def test_a_drawing_that_is_cut_out_is_one(make_work):
    picture = Image.new("RGBA", (300, 200))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((40, 20, 240, 180), "red", "black", 5)
    draw.text((100, 90), "logo", "white", ImageFont.load_default(30))
    made = make(make_work, encoded(picture), format="auto")
    assert (made.facts["format"], made.facts["content"]) == ("png", "drawing")


def test_without_webp_an_animation_is_a_gif(make_work):
    made = make(make_work, animation("WEBP"), format="auto", auto_webp="never")
    assert (made.facts["format"], made.picture.n_frames) == ("gif", 3)


def test_auto_without_loss_never_takes_jpeg(make_work):
    picture = photograph(80, 60)
    made = make(make_work, encoded(picture), format="auto", lossless=True)
    assert made.facts["format"] == "webp"
    assert made.picture.tobytes() == picture.tobytes()


@pytest.mark.parametrize(("written", "longest"), [("webp", 16_383), ("avif", 16_384)])
def test_a_side_longer_than_the_format_can_hold_is_refused(make_work, written, longest):
    with pytest.raises(InvalidParameter, match=str(longest)):
        make(make_work, encoded(plain(16_385, 1)), format=written)


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "share"), [("avif", 0.001), ("webp", 0.001), ("gif", 0.004)])
def test_effort_gives_way_to_time_and_facts_say_so(make_work, monkeypatch, written, share):
    content = encoded(photograph())
    assert "effort" not in make(make_work, content, format=written, effort=2).facts
    monkeypatch.setattr(encoding, "_SHARE_OF_TIME", share)
    made = make(make_work, content, format=written, effort=9)
    assert made.facts["effort"] < 9
    used = make(make_work, content, format=written, effort=made.facts["effort"])
    assert made.content == used.content


def test_a_picture_that_takes_longer_than_there_is_time_is_not_begun():
    with pytest.raises(DeadlineExceeded, match="50,000,000 pixels as avif would take some 10 s"):
        affordable(Encoding("avif"), 50_000_000, 19, 19)
    assert affordable(Encoding("avif"), 50_000_000, 30, 20).effort < 5
    with pytest.raises(DeadlineExceeded, match="3 s are left"):
        affordable(Encoding("avif"), 50_000_000, 30, 3)
    assert affordable(Encoding("png"), 50_000_000, 1, 1) == Encoding("png")


# -- metadata ------------------------------------------------------------------------------------

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="SECRET-CITY"
 xmpRights:WebStatement="https://example.com/licence"><dc:rights><rdf:Alt>
 <rdf:li xml:lang="x-default">XMP owner &amp; Söhne</rdf:li></rdf:Alt></dc:rights>
 <dc:creator><rdf:Seq><rdf:li>XMP maker</rdf:li><rdf:li>Second</rdf:li></rdf:Seq></dc:creator>
 <dc:description><rdf:Alt><rdf:li xml:lang="x-default">SECRET-XMP</rdf:li></rdf:Alt>
 </dc:description></rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def secretive(kind: str, *, copyright_notice: bool = False, xmp: bool = True) -> bytes:
    """Make a picture with all the metadata that its kind can have."""
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "SECRET-MAKER", "SECRET-PLACE"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\x00\x00\x00SECRET-USER"
    if copyright_notice:
        exif[0x8298], exif[0x013B] = "EXIF owner (Berlin) 2026", "EXIF maker"
    options = {"exif": exif, "icc_profile": SRGB}
    if kind == "TIFF":
        options["tiffinfo"] = {270: "SECRET-TIFF", 700: XMP}
        if copyright_notice:
            options["tiffinfo"] |= {33432: "EXIF owner (Berlin) 2026", 315: "EXIF maker"}
        del options["exif"]
    if kind in ("JPEG", "WEBP", "AVIF") and xmp:
        options["xmp"] = XMP
    if kind == "JPEG":
        options["comment"] = b"SECRET-COMMENT"
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", "SECRET-TEXT")
        if xmp:
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    if kind == "GIF":
        options = {"comment": b"SECRET-COMMENT"}
    content = encoded(corners(60, 40), kind, **options)
    if kind == "JPEG":
        content += b"SECRET-TRAILER" * 10
    assert b"SECRET" in content
    return content


def rights_in(picture: Image.Image) -> dict[str, str]:
    """Read the statements of an XMP packet, by their names without namespace."""
    packet = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"]
    (described,) = ET.fromstring(packet).iter(f"{RDF}Description")
    return {
        element.tag.partition("}")[2]: "; ".join(text.strip() for text in element.itertext())
        for element in described
    }


RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"

TRACES = (b"SECRET", b"Exif", b"EXIF", b"eXIf", b"ICC_PROFILE", b"iCCP", b"ICCP", b"tEXt", b"iTXt")


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF"])
def test_no_metadata_survives(make_work, kind, written):
    made = make(make_work, secretive(kind), format=written)
    for trace in (*TRACES, b"xmpmeta", b"http:"):
        assert trace not in made.content
    if written != "tiff":
        assert not made.picture.getexif()
    assert not set(made.picture.info) & {"comment", "exif", "icc_profile", "xmp"}


@pytest.mark.parametrize("written", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("in_exif", [True, False])
def test_copyright_is_kept_alone_when_asked(make_work, kind, written, in_exif):
    content = secretive(kind, copyright_notice=in_exif)
    made = make(make_work, content, format=written, metadata="copyright", width=30)
    owner = "EXIF owner (Berlin) 2026" if in_exif else "XMP owner & Söhne"
    maker = "EXIF maker" if in_exif else "XMP maker; Second"
    exif = made.picture.getexif()
    if written != "tiff":
        # EXIF is ASCII.
        assert (exif[0x8298], exif[0x013B]) == (owner.replace("ö", "o"), maker)
        assert not exif.get_ifd(0x8825)
        assert not {0x010F, 0x010E} & set(exif)
    assert rights_in(made.picture) == {
        "rights": owner,
        "creator": maker,
        "WebStatement": "https://example.com/licence",
    }
    assert b"SECRET" not in made.content
    assert "icc_profile" not in made.picture.info


def iptc(*datasets: tuple[int, bytes]) -> bytes:
    """Make the APP13 segment of a JPEG."""
    records = b"".join(
        b"\x1c\x02" + bytes([number]) + len(value).to_bytes(2) + value for number, value in datasets
    )
    block = b"8BIM\x04\x04\x00\x00" + len(records).to_bytes(4) + records
    body = b"Photoshop 3.0\x00" + block + bytes(len(block) % 2)
    return b"\xff\xed" + (len(body) + 2).to_bytes(2) + body


def test_iptc_names_the_owner_too(make_work):
    content = encoded(corners(60, 40), "JPEG")
    segment = iptc((5, b"SECRET-TITLE"), (80, b"IPTC maker"), (116, "© Söhne".encode()))
    made = make(make_work, content[:2] + segment + content[2:], metadata="copyright")
    assert rights_in(made.picture) == {"rights": "© Söhne", "creator": "IPTC maker"}
    assert made.picture.getexif()[0x013B] == "IPTC maker"
    assert b"SECRET" not in made.content


def test_where_nobody_claims_a_right_nothing_is_claimed(make_work):
    made = make(make_work, secretive("JPEG", xmp=False), metadata="copyright")
    assert b"SECRET" not in made.content
    assert b"xmpmeta" not in made.content
    assert not {0x8298, 0x013B, 0x010F} & set(made.picture.getexif())


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        b"<a><b></a>",
        b'<!DOCTYPE a [<!ENTITY b "SECRET">]><a>&b;</a>',
        XMP.replace(b"<x:xmpmeta", b'<!DOCTYPE x [<!ENTITY e "SECRET-E">]><x:xmpmeta', 1),
        b"\xff" * 500,
        XMP[:300],
    ],
    ids=range(7),
)
def test_xmp_that_makes_no_sense_says_nothing(make_work, packet):
    content = encoded(corners(60, 40), "WEBP", xmp=packet)
    made = make(make_work, content, format="jpeg", metadata="copyright")
    assert b"SECRET" not in made.content
    assert b"xmpmeta" not in made.content


@pytest.mark.parametrize("written", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_is_kept_when_asked(make_work, kind, written):
    content = secretive(kind, copyright_notice=True)
    made = make(make_work, content, format=written, metadata="keep", icc="keep", width=30)
    exif = made.picture.getexif()
    assert exif[0x010F] == "SECRET-MAKER"
    assert exif[0x8298] == "EXIF owner (Berlin) 2026"
    assert exif.get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)
    packet = made.picture.info.get("xmp")
    if written == "png":
        packet = made.picture.info["XML:com.adobe.xmp"].encode("latin-1")
    assert packet.strip() == XMP
    assert made.picture.info["icc_profile"] == SRGB


def test_what_is_kept_says_upright_and_has_no_small_picture_of_the_whole(make_work):
    source = corners(200, 120)
    thumbnail = encoded(source.resize((100, 60)), "JPEG")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(1).update({0x0103: 6, 0x0201: 0, 0x0202: len(thumbnail)})
    plain_exif = exif.tobytes()
    # The thumbnail stands behind the directories; Pillow writes none itself.
    at = len(plain_exif) - 6
    packed = (
        plain_exif.replace(
            (0x0201).to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00" + bytes(4),
            (0x0201).to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00" + at.to_bytes(4, "little"),
        )
        + thumbnail
    )
    content = encoded(source.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=packed)
    assert content.count(b"\xff\xd8\xff") == 2
    made = make(make_work, content, metadata="keep", crop="0,0,50,50")
    assert made.content.count(b"\xff\xd8\xff") == 1
    assert made.picture.getexif()[0x010F] == "Maker"
    assert made.picture.getexif().get(0x0112, 1) == 1
    assert close(made.picture.getpixel((25, 25)), corners(200, 120).getpixel((25, 25)), 20)


def test_a_jpeg_ends_where_it_ends(make_work):
    made = make(make_work, secretive("JPEG"))
    assert made.content.endswith(b"\xff\xd9")
    assert made.content.count(b"\xff\xd9") == 1


def test_the_schema_of_a_variant_promises_no_defaults():
    schema = ImageParams.model_json_schema()
    variant = schema["$defs"]["Variant"]
    assert variant["required"] == ["name"]
    assert all("default" not in described for described in variant["properties"].values())
    assert schema["properties"]["fit"]["default"] == "inside"


def test_pillow_agrees_about_what_is_inside(make_work):
    for written in FORMATS:
        made = make(make_work, encoded(corners(64, 48)), format=written)
        with Image.open(io.BytesIO(made.content)) as picture:
            picture.load()
            assert picture.size == (64, 48)
