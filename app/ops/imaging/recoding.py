"""The input itself as a contender: its own pixels, coded better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.ops.imaging.contenders import Contender
from app.ops.imaging.costs import write_s
from app.ops.imaging.encoding import Keep
from app.ops.imaging.loading import Header, read_header
from app.ops.imaging.lossless import as_stored, recode, restore_looks, rewrite, same_pixels
from app.ops.imaging.race import Entry, Race
from app.ops.imaging.rights import Rights, with_rights_only
from app.ops.imaging.vips import field_of

_MOVES = ("n-pages", "delay", "loop")
"""What libvips calls how an animation moves."""


class Recoding:
    """Codes one picture better, and lets the result race if it has the same pixels."""

    def __init__(
        self, race: Race, header: Header, keep: tuple[Keep, ...], rights: Rights, time_s: float
    ) -> None:
        """Take the race, what to work on, the metadata to keep, and the longest time to take."""
        self._race = race
        self._header = header
        self._keep = keep
        self._rights = rights
        self._time_s = time_s
        self.contender = Contender(header.written, "recoded")

    @property
    def possible(self) -> bool:
        """Whether that keeps the looks: few programs obey a PNG's EXIF, so that is turned."""
        if self._header.kind == "png":
            return self._header.orientation == 1 and not self._rights
        return self._header.kind in ("jpeg", "gif", "tiff")

    def __call__(self) -> bool:
        """Do it; False if the coder does not take the file."""
        kind, frames = self._header.kind, -1 if self._header.animated else 1
        target = self._race.new_path(self.contender)
        stored = as_stored(self._header.path, kind, frames)
        written = self._rewrite(stored, target) if kind in ("gif", "tiff") else self._recode(target)
        contender, like = self.contender, 0.0
        if written and self._moves_alike(target):
            if same_pixels(stored, target, kind, frames):
                like = 1.0
            elif kind == "gif" and not self._race.exact:
                # One of its colours is needed for what stays as it is: of 256, one is lost.
                contender = Contender("gif", "palette")
                like = self._race.likeness_of(contender, target)
        if like:
            self._race.enter(Entry(contender, None, target, target.stat().st_size, like))
        else:
            target.unlink(missing_ok=True)
        return written

    def _rewrite(self, stored: Any, target: Path) -> bool:
        self._race.pay(write_s(self.contender, stored.width * stored.height))
        picture = with_rights_only(stored, self._rights) if self._rights else stored
        rewrite(self._header.kind, picture, target, self._keep)
        return True

    def _recode(self, target: Path) -> bool:
        kind, keeps_all = self._header.kind, "all" in self._keep
        pixels = self._header.size[0] * self._header.size[1]
        level = 0
        if kind == "png":
            level = self._race.pay_oxipng(pixels)
        else:
            self._race.pay(write_s(self.contender, pixels))
        source, time_s = self._header.path, self._time_s
        if not recode(kind, source, target, keep_all=keeps_all, level=level, time_s=time_s):
            return False
        if kind == "jpeg" and not keeps_all:
            restore_looks(target, self._header, self._rights)
        return True

    def _moves_alike(self, target: Path) -> bool:
        """Tell whether all frames are there, for as long, and as often."""
        if not self._header.animated:
            return True
        made, stored = read_header(target).image, self._header.image
        return all(field_of(made, name) == field_of(stored, name) for name in _MOVES)
