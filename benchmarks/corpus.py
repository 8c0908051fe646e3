"""What is worked on: logs, source text and photographs, the same on every run of one machine."""

from __future__ import annotations

import random
import sysconfig
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MIB = 1 << 20


def logs(size_bytes: int) -> bytes:
    """Generate a service's log, one JSON object a line."""
    chance = random.Random(1)
    services = ("gateway", "catalog", "checkout", "search", "media", "auth")
    levels = ("INFO",) * 16 + ("DEBUG",) * 4 + ("WARNING", "ERROR")
    paths = [f"/api/v{v}/{noun}" for v in (1, 2) for noun in ("items", "users", "carts", "orders")]
    agents = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101" for n in range(98, 140)]
    users = [f"user_{chance.getrandbits(40):010x}" for _ in range(5_000)]
    clock_ms = 1_750_000_000_000
    lines = []
    left = size_bytes
    while left > 0:
        clock_ms += chance.randrange(40)
        status = chance.choice((200,) * 20 + (201, 204, 301, 304, 404, 422, 500))
        line = (
            f'{{"time":{clock_ms},"level":"{chance.choice(levels)}",'
            f'"service":"{chance.choice(services)}","trace":"{chance.getrandbits(64):016x}",'
            f'"method":"{chance.choice(("GET", "GET", "GET", "POST", "PUT"))}",'
            f'"path":"{chance.choice(paths)}/{chance.randrange(100_000)}","status":{status},'
            f'"took_ms":{chance.expovariate(0.02):.3f},"bytes":{chance.randrange(50_000)},'
            f'"user":"{chance.choice(users)}","agent":"{chance.choice(agents)}",'
            f'"message":"request {"served" if status < 400 else "failed"}"}}\n'
        )
        lines.append(line)
        left -= len(line)
    return "".join(lines).encode()[:size_bytes]


def source_text(size_bytes: int) -> bytes:
    """Give real text: the sources of the standard library and of the installed packages."""
    pieces = []
    left = size_bytes
    for name in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_path(name)).rglob("*.py")):
            if left <= 0:
                break
            if name == "stdlib" and "site-packages" in path.parts:
                continue
            piece = path.read_bytes()[:left]
            pieces.append(piece)
            left -= len(piece)
    text = b"".join(pieces)
    # Where there is not enough, again from the start: far behind every window of deflate.
    return (text * (size_bytes // len(text) + 1))[:size_bytes]


def small_files(count: int, size_bytes: int) -> list[bytes]:
    """Cut logs into files."""
    text = logs(count * size_bytes)
    return [text[n * size_bytes : (n + 1) * size_bytes] for n in range(count)]


def photographs(count: int, width: int = 4000, height: int = 3000) -> list[bytes]:
    """Make JPEGs that weigh what a camera's do: large shapes, texture, grain; 4:2:0 at q92."""
    return [_photograph(seed, (width, height)) for seed in range(count)]


def pngs(photograph_count: int, drawing_count: int) -> list[bytes]:
    """Make PNGs: photographs of 2400x1800, with their grain, and drawn screens of 2880x1800.

    Every other screen is transparent between its windows.
    """
    made = []
    for seed in range(photograph_count):
        with Image.open(BytesIO(_photograph(seed, (2400, 1800)))) as photograph:
            made.append(_png(photograph))
    made += [_png(_screen(seed)) for seed in range(drawing_count)]
    return made


def _png(picture: Image.Image) -> bytes:
    out = BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return out.getvalue()


def _screen(seed: int) -> Image.Image:
    """Draw what a screen shows: flat panels, a picture's gradient, a great deal of small text."""
    chance = random.Random(seed)
    words = [name[:12] for name in dir(Image) + dir(ImageDraw)]
    picture = Image.new("RGBA", (2880, 1800), (255, 255, 255, 0 if seed % 2 else 255))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(22)
    for left in range(40, 2800, 700):
        colour = tuple(chance.randrange(60, 256) for _ in range(3))
        draw.rounded_rectangle((left, 40, left + 640, 1760), 24, (*colour, 255), (0, 0, 0, 255))
        for top in range(60, 1400, 28):
            line = " ".join(chance.choices(words, k=5))
            draw.text((left + 16, top), line, (20, 20, 20, 255), font)
        picture.paste(Image.linear_gradient("L").resize((600, 320)), (left + 20, 1420))
    return picture if seed % 2 else picture.convert("RGB")


def _photograph(seed: int, size: tuple[int, int]) -> bytes:
    chance = random.Random(seed)
    luma = _shapes(chance, size)
    # Each finer layer of noise is fainter, as in nature; colour has no fine layers.
    for pixels, weight in ((200, 0.4), (60, 0.25), (16, 0.18), (5, 0.1), (2, 0.06)):
        luma = _with_noise(chance, luma, pixels, weight)
    luma = _with_noise(chance, luma, 1, chance.uniform(0.035, 0.065))
    grey = Image.new("L", size, 128)
    blue, red = (
        _with_noise(chance, _with_noise(chance, grey, 400, 0.3), 50, 0.08) for _ in range(2)
    )
    picture = Image.merge("YCbCr", (luma, blue, red)).convert("RGB")
    out = BytesIO()
    picture.save(out, "JPEG", quality=92, subsampling="4:2:0")
    return out.getvalue()


def _shapes(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    """Draw a sky and things in front of it, with the hard edges that noise lacks."""
    picture = Image.linear_gradient("L").resize(size)
    draw = ImageDraw.Draw(picture)
    for _ in range(120):
        left, top = chance.randrange(size[0]), chance.randrange(size[1])
        reach = chance.randrange(size[0] // 50, size[0] // 8)
        box = (left, top, left + reach, top + chance.randrange(reach // 2, 2 * reach))
        (draw.ellipse if chance.random() < 0.5 else draw.rectangle)(box, chance.randrange(256))
    return picture


def _with_noise(
    chance: random.Random, picture: Image.Image, pixels: int, weight: float
) -> Image.Image:
    """Blend in smooth noise whose grains are so many pixels wide."""
    grid = (max(2, picture.width // pixels), max(2, picture.height // pixels))
    noise = Image.frombytes("L", grid, chance.randbytes(grid[0] * grid[1]))
    return Image.blend(picture, noise.resize(picture.size, Image.Resampling.BICUBIC), weight)
