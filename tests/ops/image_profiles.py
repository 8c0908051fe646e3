"""ICC profiles made by hand (ICC.1:2001-04), to hold two colour engines against each other."""

from __future__ import annotations

import struct
from itertools import product

# Of the primaries, adapted to D50, as the specifications' own profiles have them.
ADOBE_RGB = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries=ADOBE_RGB, gamma: float = 2.2) -> bytes:
    """Make a matrix profile of three primaries and one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": _xyz(_D50)}
    for name, primary in zip(b"rgb", primaries, strict=True):
        tags[bytes([name]) + b"XYZ"] = _xyz(primary)
        tags[bytes([name]) + b"TRC"] = curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """Make a profile of one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(_D50), b"kTRC": curve})


def cmyk_profile() -> bytes:
    """Make a table profile of odd inks: cyan prints red, magenta green, yellow blue."""
    # Lab in 8 bits for each of the 2^4 ways to have all or nothing of an ink.
    grid = bytearray()
    for cyan, magenta, yellow, black in product((0, 1), repeat=4):
        lightness = 100 - 30 * cyan - 25 * magenta - 35 * yellow - 60 * black
        a = 60 * cyan - 60 * magenta + 20 * yellow
        b = 40 * cyan + 40 * magenta - 70 * yellow
        ink = 1 - black
        grid += bytes((round(max(lightness, 0) * 2.55), a * ink + 128, b * ink + 128))
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + bytes(grid) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(_D50), b"A2B0": table})


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = b"by hand\x00"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\x00", **tags}
    at = 132 + 12 * len(tags)
    directory, bodies = struct.pack(">I", len(tags)), b""
    for tag, body in tags.items():
        directory += tag + struct.pack(">II", at + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12s4s4xI4s4sQI3i4x",
        at + len(bodies),
        0x02400000,
        kind,
        space,
        connection,
        struct.pack(">6H", 2026, 1, 1, 0, 0, 0),
        b"acsp",
        0,
        bytes(4),
        bytes(4),
        0,
        0,
        *(round(value * 65536) for value in _D50),
    )
    return header.ljust(128, b"\x00") + directory + bodies
