"""Zips and tars put together by hand, so that every field can lie."""

import io
import struct
import tarfile
import zlib
from dataclasses import dataclass, field


def deflated(data: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass
class Raw:
    """One member of a zip: what is true, and in `local` and `central` what is said instead."""

    name: bytes
    data: bytes = b""
    method: int = 8
    flags: int = 0
    mode: int = 0o100644
    made_by: int = 3 << 8
    body: bytes | None = None
    extra: bytes = b""
    local: dict = field(default_factory=dict)
    central: dict = field(default_factory=dict)

    def values(self, said: dict) -> dict:
        body = self.packed
        true = {
            "name": self.name,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "compressed": len(body),
            "size": len(self.data),
            "extra": self.extra,
        }
        return true | said

    @property
    def packed(self) -> bytes:
        if self.body is not None:
            return self.body
        return deflated(self.data) if self.method == 8 else self.data

    def header(self) -> bytes:
        v = self.values(self.local)
        fixed = struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20, v["flags"], v["method"], 0, 33, v["crc"],
            v["compressed"], v["size"], len(v["name"]), len(v["extra"]),
        )  # fmt: skip
        return fixed + v["name"] + v["extra"]

    def entry(self, offset: int) -> bytes:
        v = self.values(self.central)
        offset = v.get("offset", offset)
        fixed = struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", self.made_by | 20, 20, v["flags"], v["method"], 0, 33,
            v["crc"], v["compressed"], v["size"], len(v["name"]), len(v["extra"]), 0, 0, 0,
            self.mode << 16, offset,
        )  # fmt: skip
        return fixed + v["name"] + v["extra"]


def raw_zip(*members: Raw, comment: bytes = b"", end: dict | None = None) -> bytes:
    out = bytearray()
    offsets = []
    for member in members:
        offsets.append(len(out))
        out += member.header() + member.packed
    start = len(out)
    for member, offset in zip(members, offsets, strict=True):
        out += member.entry(offset)
    said = {"count": len(members), "length": len(out) - start, "start": start} | (end or {})
    count = min(said["count"], 0xFFFF)
    out += struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, count, count, said["length"], said["start"], len(comment)
    )
    return bytes(out + comment)


def wide_zip(*members: Raw, **said: int) -> bytes:
    """A zip with a zip64 end record; `said` overrides what that says."""
    plain = raw_zip(*members)
    at = plain.rindex(b"PK\5\6")
    count, length, start = struct.unpack_from("<10xH2L", plain, at)
    true = {"count": count, "length": length, "start": start, "at": at, "size": 44}
    v = true | said
    end = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", v["size"], 45, 45, 0, 0, v["count"], v["count"], v["length"],
        v["start"],
    )  # fmt: skip
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, v["at"], 1)
    narrow = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return plain[:at] + end + locator + narrow


def overlapping_zip(files: int, kernel_bytes: int) -> bytes:
    """Fifield's bomb: each member's data is the headers of all that follow, then the kernel."""
    kernel = deflated(bytes(kernel_bytes), 9)
    tail, size, crc_data = kernel, kernel_bytes, bytes(kernel_bytes)
    members: list[tuple[bytes, bytes]] = []
    for number in reversed(range(files)):
        name = b"%05d" % number
        head = Raw(
            name, b"", local={"crc": zlib.crc32(crc_data), "compressed": len(tail), "size": size}
        ).header()
        members.insert(0, (name, head))
        # A stored block that quotes this header, not the last of its stream.
        quote = struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF)
        tail = quote + head + tail
        size += len(head)
        crc_data = head + crc_data
    out, directory = bytearray(), bytearray()
    body = tail[5:]
    places = []
    rest = body
    for name, _ in members:
        places.append(len(body) - len(rest))
        fields = struct.unpack_from("<4s5H3L2H", rest)
        entry = Raw(
            name, central={"crc": fields[6], "compressed": fields[7], "size": fields[8]}
        ).entry(places[-1])
        directory += entry
        rest = rest[30 + len(name) + 5 :]
    out += body + directory
    return bytes(out) + struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, files, files, len(directory), len(body), 0
    )


def tar_header(
    name: bytes, size: int | bytes = 0, kind: bytes = b"0", link: bytes = b"", **fields: bytes
) -> bytes:
    """A ustar header with a right checksum; `size` as bytes is the field itself."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    for place, value in fields.items():
        at = int(place.removeprefix("at"))
        block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def tar_file(name: bytes, data: bytes, **header) -> bytes:
    return tar_header(name, len(data), **header) + padded(data)


def pax_header(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    payload = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        payload += b"%d" % length + rest
    return tar_file(b"pax", payload, kind=kind)


END = bytes(1024)


def plain_tar(files: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tar_format) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return sink.getvalue()
